"""p-values of a whole family of comparisons: Westfall and Young's step-down maxT.

However many metrics and systems are compared, and however they depend on each other, the chance of
calling any equal pair different stays at the level (Westfall & Young 1993, algorithm 2.8). All
comparisons use the same permutations, in each of which an image's two systems are swapped or not.
The draws of the largest statistic therefore contain the dependence between comparisons; a bound
such as Holm's has to allow for the worst dependence.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from bench.metrics.base import Array

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Compared:
    """An observed difference, and its draws `[R]` under the null hypothesis of no difference."""

    observed: float
    drawn: Array


def adjusted(family: Mapping[K, Compared]) -> dict[K, float]:
    """Returns every comparison's p-value, adjusted for all of them.

    Draws at the same index of `drawn` must come from the same permutation. Statistics are
    differences in units of their draws' standard deviation; where all draws are 0, p is 1.
    """
    if not family:
        return {}
    names = list(family)
    drawn = np.abs(np.stack([family[name].drawn for name in names], axis=1))
    spread = np.sqrt((drawn**2).mean(0))
    unit = np.where(spread > 0, spread, np.inf)
    statistics = np.array([abs(family[name].observed) for name in names]) / unit
    order = np.argsort(-statistics, kind="stable")
    # For each draw, the largest statistic among this comparison and all less extreme ones.
    largest = np.maximum.accumulate((drawn / unit)[:, order[::-1]], axis=1)[:, ::-1]
    # Rounding must not decide whether a draw is as extreme as the observed statistic.
    hits = (largest >= statistics[order] - 1e-9).sum(0)
    values = np.maximum.accumulate((hits + 1) / (len(drawn) + 1))
    return {names[place]: float(p) for place, p in zip(order, values, strict=True)}
