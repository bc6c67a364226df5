"""BLEU-1..4 (Papineni et al. 2002, section 2), closest reference length, as pycocoevalcap's scorer
computes it, from sufficient statistics."""

from collections.abc import Sequence

import numpy as np

from bench.metrics.base import ALWAYS, Array, Hypotheses, Metric, References, Score

# pycocoevalcap.bleu.bleu_scorer adds these to avoid divisions by zero.
_TINY, _SMALL = 1e-15, 1e-9


def _item(hypothesis: str, references: Sequence[str]) -> list[int]:
    from pycocoevalcap.bleu.bleu_scorer import cook_refs, cook_test

    counts = cook_test(hypothesis, cook_refs(list(references)))
    length = counts["testlen"]
    closest = min((abs(other - length), other) for other in counts["reflen"])[1]
    return [*counts["correct"], *counts["guess"], length, closest]


class Bleu(Metric):
    """BLEU-1..4, one set of columns for all four."""

    name = "BLEU"
    columns = (
        *(f"matched {n}-grams" for n in range(1, 5)),
        *(f"possible {n}-grams" for n in range(1, 5)),
        "length",
        "closest reference length",
    )
    scores = (
        Score("BLEU-1", "B1", display_priority=1, most=100, hub="bleu"),
        Score("BLEU-2", "B2", display_priority=0, most=100, hub="bleu"),
        Score("BLEU-3", "B3", display_priority=0, most=100, hub="bleu"),
        Score("BLEU-4", "B4", display_priority=ALWAYS, most=100, hub="bleu"),
    )

    prior = (4, 3, 2, 1, 4, 3, 2, 1, 4, 4)

    def statistics(self, hypotheses: Hypotheses, references: References) -> Array:
        rows = [_item(text, references[item]) for item, text in hypotheses.items()]
        return np.array(rows, dtype=np.float64).reshape(-1, len(self.columns))

    def score(self, sums: Array) -> Array:
        ratios = (sums[..., :4] + _TINY) / (sums[..., 4:8] + _SMALL)
        means = np.cumprod(ratios, axis=-1) ** (1 / np.arange(1, 5))
        ratio = (sums[..., 8] + _TINY) / (sums[..., 9] + _SMALL)
        penalty = np.where(ratio < 1, np.exp(1 - 1 / np.minimum(ratio, 1)), 1.0)
        scores: Array = 100 * means * penalty[..., None]
        return scores
