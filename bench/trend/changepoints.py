"""Where a short series changes its level.

The best division into stretches of one level each, by squared error and a price for every change
(optimal partitioning; Jackson et al. 2005, "An algorithm for optimal partitioning of data on an
interval"). The price follows from the noise between neighbours, of which no change is a part.

Where there is noise, a division has to gain more than the same values do in another order: without
a change all orders are alike, whatever the noise's distribution, so about 5% of such series have
one (a permutation test; Pitman 1937). It takes seven values to find one.
"""

from collections.abc import Sequence

import numpy as np

from bench.metrics.base import Array

PRICE, SHORT = 4.0, 6.0
"""Of a change, in units of the noise's variance times log n: `PRICE * (1 + SHORT / n)`."""
STEADY = 0.01
"""The share of the level below which nothing counts as a change, however quiet the series.

A series that repeats as closely as this has no noise, and its newest figure alone may be a change.
"""
FEWEST = 4
"""Points below which a series has no changes: its noise cannot be told from them."""
LEVEL = 0.05
"""The share of series of nothing but noise in which a change is found."""
_ORDERS = 199
_NORMAL = 0.6745 * 2**0.5
"""Median of the absolute difference of two normal draws, in their standard deviation."""


def _step(series: Array) -> float:
    return float(np.median(np.abs(np.diff(series)))) / _NORMAL


def noise(values: Sequence[float]) -> float:
    """The standard deviation about the levels, robust: from the median step, no less than 1%."""
    series = np.asarray(values, dtype=np.float64)
    return max(_step(series), STEADY * float(np.median(np.abs(series))))


def _divided(series: Array, price: float) -> tuple[list[int], float]:
    """Returns the indices where the cheapest division changes level, and its cost with prices."""
    count = len(series)
    sums, squares = (np.concatenate([[0.0], np.cumsum(x)]) for x in (series, series**2))
    best, last = np.zeros(count + 1), np.zeros(count + 1, dtype=np.int64)
    best[0] = -price
    starts = np.arange(count)
    for end in range(1, count + 1):
        begins = starts[:end]
        totals = sums[end] - sums[begins]
        costs = best[begins] + squares[end] - squares[begins] - totals**2 / (end - begins) + price
        last[end] = int(np.argmin(costs))
        best[end] = costs[last[end]]
    points: list[int] = []
    at = int(last[count])
    while at > 0:
        points.append(at)
        at = int(last[at])
    return points[::-1], float(best[count])


def change_points(values: Sequence[float]) -> list[int]:
    """Indices at which a new level begins."""
    series = np.asarray(values, dtype=np.float64)
    count = len(series)
    if count < FEWEST:
        return []
    spread = noise(values)
    price = PRICE * (1 + SHORT / count) * spread**2 * np.log(count)
    points, cost = _divided(series, price)
    if not points or _step(series) < spread:
        return points
    # The whole cost of no change is the same in every order, so the cheapest gains most.
    rng = np.random.default_rng(0)
    costs = np.array([_divided(rng.permutation(series), price)[1] for _ in range(_ORDERS)])
    alike = np.isclose(costs, cost, rtol=1e-9)
    # Mid-p (Lancaster 1961): of seven values only 35 orders differ, and 2 of them are the extreme.
    p = float((costs < cost)[~alike].sum() + alike.sum() / 2) / _ORDERS
    return points if p <= LEVEL else []
