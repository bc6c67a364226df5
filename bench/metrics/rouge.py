"""ROUGE-L (Lin 2004) with beta 1.2 and the best precision and recall, by pycocoevalcap."""

import numpy as np

from bench.metrics.types import Array, Hypotheses, References

NAME = "ROUGE-L"


def rouge_statistics(hypotheses: Hypotheses, references: References) -> Array:
    """Every item's score in percent, `[n]`; an empty hypothesis scores 0."""
    from pycocoevalcap.rouge.rouge import Rouge

    scorer = Rouge()
    scores = [
        # Empty against an empty reference is 1.0 there; nothing said earns nothing here.
        100 * float(scorer.calc_score([text], list(references[item]))) if text else 0.0
        for item, text in hypotheses.items()
    ]
    return np.array(scores, dtype=np.float64)
