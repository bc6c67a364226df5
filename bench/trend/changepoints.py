"""Where a short series changes its level.

The best division into stretches of one level each, by squared error and a price for every change
(optimal partitioning; Jackson et al. 2005, "An algorithm for optimal partitioning of data on an
interval"). The price follows from the noise between neighbours, of which no change is a part.
"""

from collections.abc import Sequence

import numpy as np

PRICE, SHORT = 4.0, 6.0
"""Of a change, in units of the noise's variance times log n: `PRICE * (1 + SHORT / n)`.

Chosen on simulated noise, so that no more than about 5% of series of any length have a change.
"""
STEADY = 0.01
"""The share of the level below which nothing counts as a change, however quiet the series."""
FEWEST = 4
"""Points below which a series has no changes: its noise cannot be told from them."""
_NORMAL = 0.6745 * 2**0.5
"""Median of the absolute difference of two normal draws, in their standard deviation."""


def noise(values: Sequence[float]) -> float:
    """The standard deviation about the levels, robust: from the median step, no less than 1%."""
    series = np.asarray(values, dtype=np.float64)
    steps = float(np.median(np.abs(np.diff(series)))) / _NORMAL
    return max(steps, STEADY * float(np.median(np.abs(series))))


def change_points(values: Sequence[float]) -> list[int]:
    """Indices at which a new level begins."""
    series = np.asarray(values, dtype=np.float64)
    count = len(series)
    if count < FEWEST:
        return []
    price = PRICE * (1 + SHORT / count) * noise(values) ** 2 * np.log(count)
    sums, squares = (np.concatenate([[0.0], np.cumsum(x)]) for x in (series, series**2))

    def cost(start: int, end: int) -> float:
        total = sums[end] - sums[start]
        return float(squares[end] - squares[start] - total**2 / (end - start))

    best, last = np.zeros(count + 1), np.zeros(count + 1, dtype=np.int64)
    best[0] = -price
    for end in range(1, count + 1):
        found = [best[start] + cost(start, end) + price for start in range(end)]
        last[end] = int(np.argmin(found))
        best[end] = found[last[end]]
    points: list[int] = []
    at = int(last[count])
    while at > 0:
        points.append(at)
        at = int(last[at])
    return points[::-1]
