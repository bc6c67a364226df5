"""Finds where a short series changes its level.

A series is divided into stretches of one level each, with the smallest sum of squared errors and a
price for every change (optimal partitioning; Jackson et al. 2005, "An algorithm for optimal
partitioning of data on an interval"). The price is proportional to the variance of the noise, which
is estimated from the differences of neighbours.

In a noisy series, a change must also pass a permutation test (Pitman 1937): the division must cost
less than that of 95% of the series' other orders. So a change is found in about 5% of series of
nothing but noise, whatever its distribution. At least seven values are needed.
"""

from collections.abc import Sequence

import numpy as np

from bench.metrics.base import Array

PRICE, SHORT = 4.0, 6.0
"""The price of a change is `PRICE * (1 + SHORT / n)`, in units of the noise's variance × log n."""
STEADY = 0.01
"""The noise is at least this share of the level, so that smaller changes do not count.

A series with less noise needs no permutation test, and its newest value alone may be a change.
"""
FEWEST = 4
"""A shorter series has no changes, because its noise cannot be estimated."""
LEVEL = 0.05
"""The share of series of nothing but noise in which a change is found."""
_ORDERS = 199
_NORMAL = 0.6745 * 2**0.5
"""The median absolute difference of two draws from a normal distribution, in its SDs."""


def _step(series: Array) -> float:
    return float(np.median(np.abs(np.diff(series)))) / _NORMAL


def noise(values: Sequence[float]) -> float:
    """Returns a robust standard deviation: from the median step, at least 1% of the level."""
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
    """Returns the indices at which a new level begins."""
    series = np.asarray(values, dtype=np.float64)
    count = len(series)
    if count < FEWEST:
        return []
    spread = noise(values)
    price = PRICE * (1 + SHORT / count) * spread**2 * np.log(count)
    points, cost = _divided(series, price)
    if not points or _step(series) < spread:
        return points
    # Without a change all orders cost the same, so the order with the least cost gains most.
    rng = np.random.default_rng(0)
    costs = np.array([_divided(rng.permutation(series), price)[1] for _ in range(_ORDERS)])
    alike = np.isclose(costs, cost, rtol=1e-9)
    # Mid-p (Lancaster 1961): of seven values only 35 orders differ, and 2 of them are the extreme.
    p = float((costs < cost)[~alike].sum() + alike.sum() / 2) / _ORDERS
    return points if p <= LEVEL else []
