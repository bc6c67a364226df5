"""Facts: how many of the facts stated are true of the picture, and how many true ones are stated.

No n-grams are used, so wording does not matter. It needs a dataset that knows the facts of its
pictures, as scenes does. Speech that states other facts scores low only here; unintelligible speech
scores low here too, and also has words that occur in no caption.
"""

import numpy as np

from bench.datasets.scenes.facts import said
from bench.metrics.base import Array, Hypotheses, Metric, References, Score


class Facts(Metric):
    """Precision, recall and F1 over the facts of all items together."""

    name = "Facts"
    columns = ("true facts said", "facts said", "facts of the pictures")
    scores = (
        Score("fact precision", "FP", display_priority=-1, most=100),
        Score("fact recall", "FR", display_priority=-1, most=100),
        Score("fact F1", "F1", display_priority=4, most=100),
    )
    against = "facts"

    def statistics(self, hypotheses: Hypotheses, references: References) -> Array:
        """Counts words by `references`, every item's facts (see bench.datasets.scenes.facts)."""
        rows = []
        for item, text in hypotheses.items():
            true = dict(fact.split(": ") for fact in references[item])
            stated = said(text)
            right = sum(value in true[kind].split("|") for kind, value in stated.items())
            rows.append((right, len(stated), len(true)))
        return np.array(rows, dtype=np.float64).reshape(-1, 3)

    def score(self, sums: Array) -> Array:
        right, stated, true = (sums[..., column] for column in range(3))
        shares = (right / np.maximum(stated, 1), right / np.maximum(true, 1))
        f1 = 2 * right / np.maximum(stated + true, 1)
        return 100 * np.stack([*shares, f1], axis=-1)
