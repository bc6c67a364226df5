"""Measures how often a trend reports a change in noise, and how often it finds a step."""

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.common.progress import Progress
from bench.metrics.base import Array
from bench.trend.changepoints import change_points

LENGTHS = (8, 16, 32)
"""Committed versions of a figure."""
LEVEL_OF_SERIES, SPREAD = 50.0, 2.0
STEP = 3 * SPREAD
"""A fall in the middle of a series."""

_NOISES: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "normal": lambda rng, count: rng.normal(size=count),
    "Student's t, 2 degrees": lambda rng, count: rng.standard_t(2, count),
    "Cauchy": lambda rng, count: rng.standard_cauchy(count),
    "log-normal": lambda rng, count: rng.lognormal(0, 1, count),
}


def trends(series: int, report: Progress) -> list[dict[str, Any]]:
    """Returns the share of series with a change, for every kind of noise and length."""
    rows: list[dict[str, Any]] = []
    every = len(_NOISES) * len(LENGTHS)
    for kind, draw in _NOISES.items():
        for count in LENGTHS:
            rng = np.random.default_rng([11, len(rows)])
            detected = {"without a change": 0, "with a step of 3 spreads": 0}
            fall = np.where(np.arange(count) < count // 2, 0.0, STEP)
            for _ in range(series):
                noise = LEVEL_OF_SERIES + SPREAD * draw(rng, count)
                detected["without a change"] += bool(change_points(noise.tolist()))
                detected["with a step of 3 spreads"] += bool(change_points((noise - fall).tolist()))
            shares = {name: hits / series for name, hits in detected.items()}
            rows.append({"noise": kind, "versions": count} | shares)
            report("trends", len(rows), every)
    return rows
