"""Caption metrics: corpus scores and per-item scores, as pycocoevalcap defines them."""
