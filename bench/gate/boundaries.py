"""Stopping boundaries for interim analyses of a growing run, by O'Brien and Fleming.

Early analyses need much stronger evidence, so the last one needs hardly more than a single test
would. The share of the level that is spent up to a share of all items follows Lan and DeMets (1983,
"Discrete sequential boundaries for clinical trials"). The boundaries are computed by the recursion
of Armitage, McPherson and Rowe (1969) on a grid.
"""

from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from bench.metrics.base import Array

_NORMAL = NormalDist()
_GRID = np.linspace(-8.0, 8.0, 1601)
"""Values of the statistic on which its density is computed; it is negligible beyond them."""


def spent(level: float, share: float) -> float:
    """Returns the part of a one-sided level that may be spent up to a share of all items."""
    return 2 - 2 * _NORMAL.cdf(_NORMAL.inv_cdf(1 - level / 2) / share**0.5)


def _density(mean: Array, spread: float) -> Array:
    density: Array = np.exp(-((_GRID[:, None] - mean) ** 2) / (2 * spread**2))
    return density / (spread * np.sqrt(2 * np.pi))


@lru_cache(maxsize=64)
def boundaries(shares: tuple[float, ...], level: float) -> tuple[float, ...]:
    """Returns, for each analysis, the number of standard errors at which a loss is certain;
    one-sided.

    `shares` are the analyses' shares of all items, rising to 1. Without a loss, the probability
    that any analysis is beyond its boundary is `level`.
    """
    step = float(_GRID[1] - _GRID[0])
    bounds: list[float] = []
    # The density of the sum so far, in units of its final standard deviation, if no earlier
    # analysis was beyond its boundary.
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
        # The boundary for which the probability of being beyond it is what may be spent here.
        at = float(np.interp(may - used, below, _GRID))
        bounds.append(-at / share**0.5)
        # Each value represents the interval around it, of which the boundary may take a part.
        density = density * np.clip((_GRID - at) / step + 0.5, 0.0, 1.0)
        before, used = share, may
    return tuple(bounds)


def analysis_sizes(most: int, analyses: int) -> list[int]:
    """Returns the number of items at each analysis, in equal steps."""
    sizes: Sequence[int] = [round(most * (number + 1) / analyses) for number in range(analyses)]
    return sorted({size for size in sizes if size})
