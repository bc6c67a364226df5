"""BLEU-1..4 (Papineni et al. 2002, section 2), closest reference length, as pycocoevalcap's scorer
computes it, from sufficient statistics."""

from collections.abc import Sequence

import numpy as np

from bench.metrics.types import Array, Hypotheses, References

NAMES = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4")
WIDTH = 10
"""Matched and possible n-grams for n = 1..4, the hypothesis's length, the closest reference's."""

# pycocoevalcap.bleu.bleu_scorer adds these so that nothing is divided by zero.
_TINY, _SMALL = 1e-15, 1e-9


def _item(hypothesis: str, references: Sequence[str]) -> list[int]:
    from pycocoevalcap.bleu.bleu_scorer import cook_refs, cook_test

    found = cook_test(hypothesis, cook_refs(list(references)))
    length = found["testlen"]
    closest = min((abs(other - length), other) for other in found["reflen"])[1]
    return [*found["correct"], *found["guess"], length, closest]


def bleu_statistics(hypotheses: Hypotheses, references: References) -> Array:
    """Statistics of every item, `[n, 10]`."""
    rows = [_item(text, references[item]) for item, text in hypotheses.items()]
    return np.array(rows, dtype=np.float64).reshape(-1, WIDTH)


def bleu(sums: Array) -> dict[str, Array]:
    """Scores in percent from statistics summed over items, `[..., 10]`."""
    ratios = (sums[..., :4] + _TINY) / (sums[..., 4:8] + _SMALL)
    means = np.cumprod(ratios, axis=-1) ** (1 / np.arange(1, 5))
    ratio = (sums[..., 8] + _TINY) / (sums[..., 9] + _SMALL)
    penalty = np.where(ratio < 1, np.exp(1 - 1 / np.minimum(ratio, 1)), 1.0)
    return {name: 100 * means[..., n] * penalty for n, name in enumerate(NAMES)}
