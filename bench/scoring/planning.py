"""Computes how many images and seeds detect a difference, from a run's own variances.

A score's error is linear in the contributions of single images (the infinitesimal jackknife; Efron
1982, section 6), so a one-way analysis of variance has two components: variance between images, and
variance between draws for one image. The difference of two systems is taken on the same images. Its
variance over n images with S seeds each is (images + seeds / S) / n. A two-sided test at LEVEL
detects a difference D with power P if that variance is at most (D / (z(1 - LEVEL / 2) + z(P)))².
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
    """The variance of a difference of two systems' scores, between images and between seeds.

    `seeds` is None if a system that samples has a single seed: `images` then includes both.
    """

    images: float
    seeds: float | None

    def images_needed(self, reach: float, seeds: int) -> int:
        """Returns how many images are needed with so many seeds each; `reach` is from
        `reach_of`."""
        return max(2, math.ceil((self.images + (self.seeds or 0.0) / seeds) / reach**2))

    def seeds_needed(self, reach: float, images: int) -> int | None:
        """Returns how many seeds are needed on this many images; None if no number suffices."""
        left = images * reach**2 - self.images
        if left <= 0:
            return None
        return max(1, math.ceil((self.seeds or 0.0) / left))


def reach_of(difference: float, power: float) -> float:
    """Returns the standard error at which a difference is detected with this power."""
    normal = NormalDist()
    return difference / (normal.inv_cdf(1 - LEVEL / 2) + normal.inv_cdf(power))


def influences(cells: Sequence[Counted], score: str) -> Array:
    """Returns each image's contribution to a score under each seed, `[seeds, n]`, with mean 0.

    `cells` are the seeds of one system, with the same images in the same order. The variance of the
    score over n images is the variance of these values divided by n. Raises KeyError for a score
    that the cells do not have.
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
    """Returns the variances of the difference of two systems, from influences `[seeds, n]`.

    `drawn` says for each system whether it samples.
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
