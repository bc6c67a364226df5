"""BLEU-1..4 (Papineni et al. 2002), closest reference length, by pycocoevalcap's scorer."""

from bench.metrics.types import Hypotheses, References, Scored

NAMES = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4")


def bleu(hypotheses: Hypotheses, references: References) -> Scored:
    """Corpus BLEU over the hypotheses' items, and each item's own (smoothed by the scorer)."""
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    scorer = BleuScorer(n=4)
    for item, hypothesis in hypotheses.items():
        scorer += (hypothesis, list(references[item]))
    corpus, items = scorer.compute_score(option="closest", verbose=0)
    return Scored(
        {name: 100 * float(value) for name, value in zip(NAMES, corpus, strict=True)},
        {name: [100 * float(v) for v in row] for name, row in zip(NAMES, items, strict=True)},
    )
