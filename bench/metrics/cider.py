"""CIDEr (Vedantam et al. 2015; the D variant without stemming) by pycocoevalcap's scorer.

Inverse document frequencies always come from *all* references of the split, not from the scored
items only. A subset's scores then mean the same as the whole split's, and the score of a single
image is not 0.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bench.metrics.base import ALWAYS, Array, Count, Hypotheses, Metric, References, Score


class Cider(Metric):
    """The mean of the items' scores; `references` have to be those of the whole split."""

    name = "CIDEr"
    columns = ("score", "items")
    scores = (Score("CIDEr", "C", display_priority=ALWAYS, leading=True, hub="cider"),)

    def statistics(self, hypotheses: Hypotheses, references: References) -> Array:
        """Returns every item's score in percent, and 1: `[n, 2]`."""
        with self.opened(references, Path()) as count:
            return count(hypotheses, references)

    @contextmanager
    def opened(self, references: References, cache: Path) -> Iterator[Count]:
        """Counts the references' n-grams and their frequencies once for all corpora."""
        from pycocoevalcap.cider.cider_scorer import CiderScorer, cook_test

        scorer = CiderScorer(n=4, sigma=6.0)
        for captions in references.values():
            # An item without references counts as a document too.
            scorer += (None, list(captions) or [""])
        # As in compute_score, which fails if no reference has a word; all items then score 0.
        scorer.compute_doc_freq()

        def count(hypotheses: Hypotheses, references: References) -> Array:
            # An item that is not scored counts as a document too.
            scorer.ctest = [cook_test(hypotheses.get(item, "")) for item in references]
            by_item = dict(zip(references, scorer.compute_cider(), strict=True))
            rows = [(100 * float(by_item[item]), 1.0) for item in hypotheses]
            return np.array(rows, dtype=np.float64).reshape(-1, 2)

        yield count

    def score(self, sums: Array) -> Array:
        scores: Array = sums[..., :1] / sums[..., 1:]
        return scores
