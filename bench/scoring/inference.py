"""Uncertainty from sufficient statistics: intervals, and tests between two cells.

The unit that is resampled is the image: all that belongs to one (its seeds, both systems' rows)
stays together. A resampled corpus is a row of counts; its scores come from one matrix product.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from statistics import NormalDist

import numpy as np

from bench.metrics.base import Array
from bench.metrics.counted import Counted
from bench.scoring.families import Compared

POWER = 0.8
_LEAST, _FAIR = 1e-3, 0.95
"""Of a score's error, below which a replicate's is none; the share of replicates that have one.

Where fewer have one, as of a share near 100%, the interval is the plain bootstrap's.
"""
_BLOCK = 500
"""Replicates drawn at once: bounds memory, and the draws do not depend on it."""


@dataclass(frozen=True)
class Interval:
    """A score in percent with its interval, which holds it."""

    score: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """One metric of system b less that of a, on the same images.

    `p_bootstrap` and `p_permutation` test that there is none, this one comparison alone (see
    bench.scoring.families for several). `detectable` is the difference that would be found with a
    power of 80% at the 5% level.
    """

    difference: float
    low: float
    high: float
    p_bootstrap: float
    p_permutation: float
    detectable: float


def _blocks(images: int, replicates: int, seed: int) -> Iterator[Array]:
    """Counts of every image in every replicate, `[block, images]`."""
    rng = np.random.default_rng(seed)
    for start in range(0, replicates, _BLOCK):
        size = min(_BLOCK, replicates - start)
        drawn = rng.integers(images, size=(size, images))
        offsets = np.arange(size)[:, None] * images
        counts = np.bincount((drawn + offsets).ravel(), minlength=size * images)
        yield counts.reshape(size, images).astype(np.float64)


def _stacked(rows: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def resampled(counted: Counted, replicates: int, seed: int) -> dict[str, Array]:
    """Corpus scores of bootstrap replicates (Efron 1979), `[replicates]` each.

    A row of `counted` is an image; the same seed draws the same images.
    """
    blocks = _blocks(len(counted), replicates, seed)
    return _stacked([counted.of(counts @ counted.values) for counts in blocks])


def intervals(
    counted: Counted, replicates: int = 2000, confidence: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """Every score with its bootstrap interval: the studentised and the plain one together.

    A plain one is too short on the side where scores are rarer, most of all near 0. In the
    studentised one (Efron & Tibshirani 1993, 12.5) every replicate is measured in its own standard
    error, which is the infinitesimal jackknife's; that is short where few images make a score. The
    interval reaches as far as either. The metrics' priors (see Metric) are one item more, with an
    exponential weight of mean 1.
    """
    tails = [(1 + confidence) / 2, (1 - confidence) / 2]
    rows = np.vstack([counted.values, counted.prior])
    prior = np.random.default_rng([seed, 2]).exponential(size=(replicates, 1))
    drawn: list[dict[str, _Estimate]] = []
    start = 0
    for counts in _blocks(len(counted), replicates, seed):
        weights = np.hstack([counts, prior[start : start + len(counts)]])
        drawn.append(_estimates(counted, rows, weights))
        start += len(counts)
    whole = _estimates(counted, rows, np.ones((1, len(rows))))
    found = {}
    bounds = {score.name: score.most for score in counted.scores}
    for name, score in counted.corpus().items():
        made = [block[name] for block in drawn]
        values, errors = (np.concatenate(part) for part in zip(*made, strict=True))
        (centre,), (error,) = whole[name]
        # Without the few images that made the error a replicate has none to be measured in.
        fair = errors > _LEAST * error
        low, high = np.quantile(values, tails[::-1])
        if error > 0 and fair.mean() > _FAIR:
            units = (values[fair] - centre) / errors[fair]
            ends = centre - np.quantile(units, tails) * error
            low, high = min(low, ends[0]), max(high, ends[1])
        floor, most = min(0.0, float(values.min())), bounds[name]
        found[name] = Interval(
            float(score),
            min(max(float(low), floor), float(score)),
            max(min(float(high), most), float(score)),
        )
    return found


_Estimate = tuple[Array, Array]
"""Scores `[R]` of weighted corpora and their standard errors `[R]`."""


def _estimates(counted: Counted, rows: Array, weights: Array) -> dict[str, _Estimate]:
    """Every score of items `[n, D]` weighted in `[R, n]` ways, with its standard error.

    An item's influence on a score is the score's gradient in the sums times what the item has
    beyond the mean (Efron 1982, section 6).
    """
    found: dict[str, _Estimate] = {}
    start = 0
    total = weights.sum(1)
    for metric in counted.metrics:
        end = start + len(metric.columns)
        own = rows[:, start:end]
        scores, slopes = gradients(metric.score, weights @ own)
        for number, score in enumerate(metric.scores):
            influence = slopes[:, number] @ own.T
            influence -= ((weights * influence).sum(1) / total)[:, None]
            error = np.sqrt((weights * influence**2).sum(1))
            found[score.name] = (scores[:, number], error)
        start = end
    return found


def gradients(score: Callable[[Array], Array], sums: Array) -> tuple[Array, Array]:
    """Scores `[R, K]` at sums `[R, C]`, and their slopes in every column, `[R, K, C]`."""
    at = score(sums)
    slopes = np.empty((*at.shape, sums.shape[1]))
    for column in range(sums.shape[1]):
        step = 1e-4 * np.maximum(np.abs(sums[:, column]), 1.0)
        moved = sums.copy()
        moved[:, column] += step
        slopes[:, :, column] = (score(moved) - at) / step[:, None]
    return at, slopes


def _permuted(one: Counted, other: Counted, replicates: int, seed: int) -> dict[str, Array]:
    """Differences of scores where each image's two rows are swapped with probability 1/2."""
    rng = np.random.default_rng([seed, 1])
    a, b = one.values, other.values
    change, rows = b - a, []
    for start in range(0, replicates, _BLOCK):
        size = min(_BLOCK, replicates - start)
        swapped = rng.integers(2, size=(size, len(a))).astype(np.float64)
        moved = swapped @ change
        first, second = one.of(a.sum(0) + moved), one.of(b.sum(0) - moved)
        rows.append({name: second[name] - first[name] for name in first})
    return _stacked(rows)


def permuted_differences(
    a: Counted, b: Counted, replicates: int, seed: int = 0
) -> dict[str, Compared]:
    """Every score of b less that of a, and what permutations make of it.

    The same seed swaps the same images, whichever cells are compared. Raises ValueError as
    `drawn_differences` does.
    """
    _check_alike(a, b)
    here, there = a.corpus(), b.corpus()
    permuted = _permuted(a, b, replicates, seed)
    return {name: Compared(float(there[name] - here[name]), permuted[name]) for name in here}


def _check_alike(a: Counted, b: Counted) -> None:
    if a.columns != b.columns:
        raise ValueError("other columns: compare the same metrics")
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} rows: compare the same images")


def drawn_differences(
    a: Counted, b: Counted, replicates: int, seed: int
) -> dict[str, tuple[float, Array]]:
    """Every score of b less that of a, and its bootstrap replicates on common draws of images.

    Raises ValueError where the images differ in number, or the columns at all.
    """
    _check_alike(a, b)
    here, there = a.corpus(), b.corpus()
    drawn_a, drawn_b = (resampled(counted, replicates, seed) for counted in (a, b))
    return {name: (float(there[name] - here[name]), drawn_b[name] - drawn_a[name]) for name in here}


def student(probability: float, freedom: int) -> float:
    """Student's quantile, from the normal one (Cornish-Fisher; Abramowitz & Stegun 26.7.5)."""
    z = NormalDist().inv_cdf(probability)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def sign_test(worse: int, better: int) -> float:
    """One-sided p-value of that many items getting worse where chance moves both ways alike."""
    changed = worse + better
    return sum(comb(changed, k) for k in range(worse, changed + 1)) / 2**changed


def compare(
    a: Counted, b: Counted, replicates: int = 2000, confidence: float = 0.95, seed: int = 0
) -> dict[str, Difference]:
    """Two cells on the same images, a row an image, in the same order.

    The bootstrap is paired (both systems on the same draw), signed and centred: the null
    distribution of a difference is that of its replicates about what was observed (Hall & Wilson
    1991, guideline 1); the permutation test is Noreen's approximate randomisation (1989). Raises
    ValueError as `drawn_differences` does.
    """
    drawn = drawn_differences(a, b, replicates, seed)
    permuted = permuted_differences(a, b, replicates, seed)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    normal = NormalDist()
    reach = normal.inv_cdf(0.975) + normal.inv_cdf(POWER)
    rows: dict[str, Difference] = {}
    for name, (seen, found) in drawn.items():
        low, high = np.quantile(found, tails)
        p_bootstrap = _share(np.abs(found - seen) >= abs(seen))
        # Rounding must not decide whether a permutation is as extreme as what was seen.
        p_permutation = _share(np.abs(permuted[name].drawn) >= abs(seen) - 1e-9)
        ends = (float(low), float(high))
        least = reach * float(found.std())
        rows[name] = Difference(seen, *ends, p_bootstrap, p_permutation, least)
    return rows


def _share(hits: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> float:
    """A p-value that is never 0: what was observed counts as one of the draws."""
    return float((hits.sum() + 1) / (len(hits) + 1))
