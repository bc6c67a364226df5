"""How many images and seeds find a difference between two systems, from a run's own variances.

A score's error is linear in what single images add to it (the infinitesimal jackknife; Efron 1982,
section 6), so that images and seeds are the two components of a one-way analysis of variance: what
differs from image to image, and what differs between draws for one image. The difference of two
systems is taken on the same images. Its variance over n images with S seeds each is
(images + seeds / S) / n, and a two-sided test at LEVEL finds a difference D with power P where that
is (D / (z(1 - LEVEL / 2) + z(P)))².
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from bench.metrics.base import Array
from bench.metrics.counted import Counted
from bench.scoring.inference import gradients

LEVEL = 0.05


@dataclass(frozen=True)
class Spread:
    """The variance of a difference of two systems' scores: of one image, and of one seed of it.

    `seeds` is None where a system that draws has a single seed: then both are in `images`.
    """

    images: float
    seeds: float | None

    def images_needed(self, reach: float, seeds: int) -> int:
        """Returns how many images are needed with so many seeds each; `reach` as of `reach_of`."""
        return max(2, math.ceil((self.images + (self.seeds or 0.0) / seeds) / reach**2))

    def seeds_needed(self, reach: float, images: int) -> int | None:
        """Returns how many seeds are needed on so many images; None where no number is enough."""
        left = images * reach**2 - self.images
        if left <= 0:
            return None
        return max(1, math.ceil((self.seeds or 0.0) / left))


def reach_of(difference: float, power: float) -> float:
    """Returns the standard error that finds a difference with a power."""
    normal = NormalDist()
    return difference / (normal.inv_cdf(1 - LEVEL / 2) + normal.inv_cdf(power))


def influences(cells: Sequence[Counted], score: str) -> Array:
    """Returns what every image adds to a score under every seed, `[seeds, n]`, of mean 0 over all.

    `cells` are the seeds of one system, of the same images in order. The variance of the score over
    n images is that of these values over n. Raises KeyError for a score that they do not have.
    """
    start = 0
    for metric in cells[0].metrics:
        end = start + len(metric.columns)
        for number, known in enumerate(metric.scores):
            if known.name == score:
                own = np.stack([cell.values[:, start:end] for cell in cells])
                _, slopes = gradients(metric.score, own.mean(0).sum(0)[None])
                added: Array = own.shape[1] * (own @ slopes[0, number])
                return added - added.mean()
        start = end
    raise KeyError(score)


def spread_of(first: Array, second: Array, *, drawn: tuple[bool, bool]) -> Spread:
    """Returns the spread of the difference of two systems, of their influences `[seeds, n]`.

    `drawn` says of each system whether chance decides what it generates.
    """
    differences = first.mean(0) - second.mean(0)
    total = float(differences.var(ddof=1))
    if any(is_drawn and len(own) < 2 for own, is_drawn in zip((first, second), drawn, strict=True)):
        return Spread(total, None)
    within = [
        (float(own.var(axis=0, ddof=1).mean()) if is_drawn else 0.0, len(own))
        for own, is_drawn in zip((first, second), drawn, strict=True)
    ]
    images = max(total - sum(variance / seeds for variance, seeds in within), 0.0)
    return Spread(images, sum(variance for variance, _ in within))
