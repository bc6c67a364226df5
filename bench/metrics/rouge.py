"""ROUGE-L (Lin 2004) with beta 1.2 and the best precision and recall, by pycocoevalcap."""

import numpy as np

from bench.metrics.base import Array, Hypotheses, Metric, References, Score


class RougeL(Metric):
    """The mean of the items' scores; an empty hypothesis scores 0."""

    name = "ROUGE-L"
    columns = ("score", "items")
    scores = (Score("ROUGE-L", "R", display_priority=3, most=100, hub="rouge"),)

    def statistics(self, hypotheses: Hypotheses, references: References) -> Array:
        """Returns every item's score in percent, and 1: `[n, 2]`."""
        from pycocoevalcap.rouge.rouge import Rouge

        scorer = Rouge()
        rows = [
            # An empty hypothesis with an empty reference scores 1.0 in pycocoevalcap, and 0 here.
            (100 * float(scorer.calc_score([text], list(references[item]))) if text else 0.0, 1.0)
            for item, text in hypotheses.items()
        ]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def score(self, sums: Array) -> Array:
        means: Array = sums[..., :1] / sums[..., 1:]
        return means
