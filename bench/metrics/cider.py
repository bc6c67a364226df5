"""CIDEr (Vedantam et al. 2015; the D variant without stemming) by pycocoevalcap's scorer.

Its inverse document frequencies come from a corpus. They are always taken from *all* references
of the split, never from the items that happen to be scored: a subset's scores then mean the same
as the whole's, and one image does not score 0.
"""

import numpy as np

from bench.metrics.base import ALWAYS, Array, Hypotheses, Metric, References, Score


class Cider(Metric):
    """The mean of the items' scores; `references` have to be the whole split's."""

    name = "CIDEr"
    columns = ("score", "items")
    scores = (Score("CIDEr", "C", kept=ALWAYS, leading=True, hub="cider"),)

    def statistics(self, hypotheses: Hypotheses, references: References) -> Array:
        """See Metric; every item's score in percent, and 1."""
        from pycocoevalcap.cider.cider_scorer import CiderScorer

        scorer = CiderScorer(n=4, sigma=6.0)
        for item, captions in references.items():
            # An item that is not scored still counts as a document, one without references too.
            scorer += (hypotheses.get(item, ""), list(captions) or [""])
        # As its compute_score does, which fails where no reference has a word; all then score 0.
        scorer.compute_doc_freq()
        by_item = dict(zip(references, scorer.compute_cider(), strict=True))
        rows = [(100 * float(by_item[item]), 1.0) for item in hypotheses]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def score(self, sums: Array) -> Array:
        """See Metric."""
        found: Array = sums[..., :1] / sums[..., 1:]
        return found
