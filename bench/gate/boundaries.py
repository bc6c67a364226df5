"""When to stop a gate that looks at a growing run: O'Brien and Fleming's boundaries.

Early looks ask for much, so that the last one asks for hardly more than a single test would. How
much of the level is spent up to a share of all items follows Lan and DeMets (1983, "Discrete
sequential boundaries for clinical trials"); the boundaries solve it by the recursion of Armitage,
McPherson and Rowe (1969) on a grid.
"""

from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from bench.metrics.base import Array

_NORMAL = NormalDist()
_GRID = np.linspace(-8.0, 8.0, 1601)
"""Values of the statistic about which its density is kept; beyond is nothing."""


def spent(level: float, share: float) -> float:
    """How much of a one-sided level may be spent once a share of all items has been looked at."""
    return 2 - 2 * _NORMAL.cdf(_NORMAL.inv_cdf(1 - level / 2) / share**0.5)


def _density(mean: Array, spread: float) -> Array:
    density: Array = np.exp(-((_GRID[:, None] - mean) ** 2) / (2 * spread**2))
    return density / (spread * np.sqrt(2 * np.pi))


@lru_cache(maxsize=64)
def boundaries(shares: tuple[float, ...], level: float) -> tuple[float, ...]:
    """For every look, how many standard errors below nothing a sure loss lies; one-sided.

    `shares` are the looks' parts of all items, rising to 1. Under no loss the chance that any look
    is beyond its boundary is `level`.
    """
    step = float(_GRID[1] - _GRID[0])
    bounds: list[float] = []
    # Of the sum of all so far in units of its final standard deviation, where no look was beyond.
    density = np.zeros_like(_GRID)
    before = used = 0.0
    for share in shares:
        spread = (share - before) ** 0.5
        if before == 0:
            density = _density(np.zeros(1), spread)[:, 0]
        else:
            density = _density(_GRID[None, :], spread) @ density * step
        may = spent(level, share)
        below = (np.cumsum(density) - density / 2) * step
        # The boundary up to which the chance of being beyond is what may be spent here.
        at = float(np.interp(may - used, below, _GRID))
        bounds.append(-at / share**0.5)
        # Each value stands for the interval about it, of which the boundary may take a part.
        density = density * np.clip((_GRID - at) / step + 0.5, 0.0, 1.0)
        before, used = share, may
    return tuple(bounds)


def look_sizes(most: int, looks: int) -> list[int]:
    """Returns how many items the looks have: even parts of all."""
    sizes: Sequence[int] = [round(most * (number + 1) / looks) for number in range(looks)]
    return sorted({size for size in sizes if size})
