"""ROUGE-L (Lin 2004) with beta 1.2 and the best precision and recall, by pycocoevalcap."""

from statistics import fmean

from bench.metrics.types import Hypotheses, References, Scored

NAME = "ROUGE-L"


def rouge(hypotheses: Hypotheses, references: References) -> Scored:
    """The mean over items, and each item's own."""
    from pycocoevalcap.rouge.rouge import Rouge

    scorer = Rouge()
    items = [
        100 * float(scorer.calc_score([hypothesis], list(references[item])))
        for item, hypothesis in hypotheses.items()
    ]
    return Scored({NAME: fmean(items)}, {NAME: items})
