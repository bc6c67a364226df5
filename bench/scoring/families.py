"""p-values of a whole family of comparisons: Westfall and Young's step-down maxT.

However many metrics and systems are compared, and however they depend on each other, the chance
that any equal pair is told apart stays at the level (Westfall & Young 1993, algorithm 2.8). Each
comparison has the same permutations, images swapped or not, so draws of the largest statistic
hold the dependence as it is; a bound such as Holm's allows for the worst.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from bench.metrics.base import Array

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Compared:
    """A difference that was seen, and its draws `[R]` where there is none."""

    seen: float
    drawn: Array


def adjusted(family: Mapping[K, Compared]) -> dict[K, float]:
    """Every comparison's p-value, adjusted for all of them.

    Draws of the same place in `drawn` have to belong together. Statistics are differences in units
    of their draws' standard deviation; where all draws are 0 there is nothing to tell, and p is 1.
    """
    if not family:
        return {}
    names = list(family)
    drawn = np.abs(np.stack([family[name].drawn for name in names], axis=1))
    spread = np.sqrt((drawn**2).mean(0))
    unit = np.where(spread > 0, spread, np.inf)
    seen = np.array([abs(family[name].seen) for name in names]) / unit
    order = np.argsort(-seen, kind="stable")
    # Of the comparisons from each on, the least extreme last: the largest statistic of every draw.
    largest = np.maximum.accumulate((drawn / unit)[:, order[::-1]], axis=1)[:, ::-1]
    # Rounding must not decide whether a draw is as extreme as what was seen.
    hits = (largest >= seen[order] - 1e-9).sum(0)
    values = np.maximum.accumulate((hits + 1) / (len(drawn) + 1))
    return {names[place]: float(p) for place, p in zip(order, values, strict=True)}
