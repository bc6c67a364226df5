"""CIDEr (Vedantam et al. 2015; the D variant without stemming) by pycocoevalcap's scorer.

Its inverse document frequencies come from a corpus. They are always taken from *all* references
of the split, never from the items that happen to be scored: a subset's scores then mean the same
as the whole's, and one image does not score 0.
"""

import numpy as np

from bench.metrics.types import Array, Hypotheses, References

NAME = "CIDEr"


def cider_statistics(hypotheses: Hypotheses, references: References) -> Array:
    """Every item's score in percent, `[n]`; `references` is the whole split."""
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    scorer = CiderScorer(n=4, sigma=6.0)
    for item, captions in references.items():
        # An item that is not scored still counts as a document, one without references too.
        scorer += (hypotheses.get(item, ""), list(captions) or [""])
    # As its compute_score does, which fails where no reference has a word; all then score 0.
    scorer.compute_doc_freq()
    by_item = dict(zip(references, scorer.compute_cider(), strict=True))
    return np.array([100 * float(by_item[item]) for item in hypotheses], dtype=np.float64)
