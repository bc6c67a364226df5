"""One quality score of a cell: the mean of its gated scores, each in units of its own spread.

All scores measure quality with different noise, so their mean detects a loss in fewer runs than any
single score (O'Brien 1984, "Procedures for comparing samples with multiple endpoints"). A corpus
score is approximated by the mean of its items' influences, linear around the golden. The variance
has two parts: images, which both runs share, and runs of one image, which is chance.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.metrics.base import Array
from bench.metrics.counted import Counted
from bench.scoring.inference import gradients

_SHARED = 0.7
"""Two runs share their noise if their error is below this share of independent runs' error."""


@dataclass(frozen=True)
class Ruler:
    """The scale on which a golden measures other runs.

    `slopes` `[D]` map an item's columns to its part of the composite. `points` are the points of
    each score in one unit of the composite, if all scores fall alike. `noise` is the standard
    deviation of one run around its image's mean. With a single seed it cannot be separated from the
    spread between images; it is then `unsure` and includes that spread.
    """

    slopes: Array
    points: Mapping[str, float]
    noise: float
    unsure: bool


@dataclass(frozen=True)
class Lost:
    """The loss of a run against its golden, in units of the composite; negative if it is better.

    `error` is the run's own standard error, `golden_error` that of the golden, which is the same
    for all runs that it judges.
    """

    units: float
    error: float
    golden_error: float


def _influences(counted: Counted, names: list[str]) -> dict[str, Array]:
    """Returns the gated scores' slopes `[D]` times the runs: influences are X @ slopes."""
    sums = counted.values.sum(0, keepdims=True)
    slopes_by_score: dict[str, Array] = {}
    start = 0
    for metric in counted.metrics:
        end = start + len(metric.columns)
        _, slopes = gradients(metric.score, sums[:, start:end])
        for number, score in enumerate(metric.scores):
            if score.name in names:
                whole = np.zeros(counted.values.shape[1])
                whole[start:end] = slopes[0, number] * len(counted)
                slopes_by_score[score.name] = whole
        start = end
    return slopes_by_score


def ruler(golden: Counted, images: int, names: list[str]) -> Ruler:
    """Returns the scale of the composite of these scores, from a golden's runs, one row each."""
    slopes, points = np.zeros(golden.values.shape[1]), {}
    for name, influence in _influences(golden, names).items():
        spread = float((golden.values @ influence).std())
        if spread > 0:
            slopes += influence / (spread * len(names))
            points[name] = spread
    each = (golden.values @ slopes).reshape(-1, images)
    seeds = len(each)
    noise = float(np.sqrt(each.var(0, ddof=1).mean())) if seeds > 1 else float(each.std())
    return Ruler(slopes, points, noise, seeds == 1)


def lost(measure: Ruler, golden: Counted, run: Counted, images: int) -> Lost:
    """Returns a run's loss against the golden's runs of the same images; both are seed by seed."""
    before, after = (
        (side.values @ measure.slopes).reshape(-1, images).mean(0) for side in (golden, run)
    )
    return between(measure, before, after, len(golden) // images, seeds=len(run) // images)


def between(measure: Ruler, before: Array, after: Array, golden_seeds: int, *, seeds: int) -> Lost:
    """Returns a run's loss from both sides' means over their seeds, `[images]` in units each."""
    images = len(before)
    units = float((before - after).mean())
    golden_error, error = (
        measure.noise / np.sqrt(images * count) for count in (golden_seeds, seeds)
    )
    paired = float((before - after).std(ddof=1)) / np.sqrt(images) if images > 1 else np.inf
    whole = float(np.hypot(error, golden_error))
    # The spread of paired differences is used if the noise is not known, or if both runs share it,
    # as when code has changed only a few items.
    if whole and (measure.unsure or paired < _SHARED * whole):
        error, golden_error = (part * min(paired / whole, 1.0) for part in (error, golden_error))
    return Lost(units, float(error), float(golden_error))
