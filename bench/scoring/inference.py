"""Uncertainty from sufficient statistics: intervals, and tests between two cells.

The unit that is resampled is the image: all that belongs to one (its seeds, both systems' rows)
stays together. A resampled corpus is a row of counts; its scores come from one matrix product.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb
from statistics import NormalDist

import numpy as np

from bench.common.resampling import Resampling
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
    """A score in its unit with its interval, which holds it."""

    score: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
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


def _block_sizes(replicates: int) -> Iterator[int]:
    """Yields how many replicates each block has, at most `_BLOCK`."""
    for start in range(0, replicates, _BLOCK):
        yield min(_BLOCK, replicates - start)


def _blocks(images: int, resampling: Resampling) -> Iterator[Array]:
    """Yields the counts of every image in every replicate, `[block, images]`."""
    rng = np.random.default_rng(resampling.seed)
    for size in _block_sizes(resampling.replicates):
        drawn = rng.integers(images, size=(size, images))
        offsets = np.arange(size)[:, None] * images
        counts = np.bincount((drawn + offsets).ravel(), minlength=size * images)
        yield counts.reshape(size, images).astype(np.float64)


def _stacked(rows: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def resampled(counted: Counted, resampling: Resampling) -> dict[str, Array]:
    """Returns corpus scores of bootstrap replicates (Efron 1979), `[replicates]` each.

    A row of `counted` is an image; the same seed draws the same images.
    """
    blocks = _blocks(len(counted), resampling)
    return _stacked([counted.of(counts @ counted.values) for counts in blocks])


def intervals(counted: Counted, resampling: Resampling) -> dict[str, Interval]:
    """Returns every score with its bootstrap interval: the studentised and the plain one together.

    A plain one is too short on the side where scores are rarer, most of all near 0. In the
    studentised one (Efron & Tibshirani 1993, 12.5) every replicate is measured in its own standard
    error, which is the infinitesimal jackknife's; that is short where few images make a score. The
    interval reaches as far as either. The metrics' priors (see Metric) are one item more, with an
    exponential weight of mean 1.
    """
    confidence = resampling.confidence
    tails = [(1 + confidence) / 2, (1 - confidence) / 2]
    rows = np.vstack([counted.values, counted.prior])
    rng = np.random.default_rng([resampling.seed, 2])
    prior = rng.exponential(size=(resampling.replicates, 1))
    drawn: list[dict[str, _Estimate]] = []
    start = 0
    for counts in _blocks(len(counted), resampling):
        weights = np.hstack([counts, prior[start : start + len(counts)]])
        drawn.append(_estimates(counted, rows, weights))
        start += len(counts)
    whole = _estimates(counted, rows, np.ones((1, len(rows))))
    interval_by_score = {}
    bounds = {score.name: score.most for score in counted.scores}
    for name, score in counted.corpus().items():
        blocks = [block[name] for block in drawn]
        values, errors = (np.concatenate(part) for part in zip(*blocks, strict=True))
        (centre,), (error,) = whole[name]
        # Without the few images that made the error a replicate has none to be measured in.
        fair = errors > _LEAST * error
        low, high = np.quantile(values, tails[::-1])
        if error > 0 and fair.mean() > _FAIR:
            units = (values[fair] - centre) / errors[fair]
            ends = centre - np.quantile(units, tails) * error
            low, high = min(low, ends[0]), max(high, ends[1])
        floor, most = min(0.0, float(values.min())), bounds[name]
        interval_by_score[name] = Interval(
            float(score),
            min(max(float(low), floor), float(score)),
            max(min(float(high), most), float(score)),
        )
    return interval_by_score


_Estimate = tuple[Array, Array]
"""Scores `[R]` of weighted corpora and their standard errors `[R]`."""


def _estimates(counted: Counted, rows: Array, weights: Array) -> dict[str, _Estimate]:
    """Returns every score of items `[n, D]` at weights `[R, n]`, with its standard error `[R]`.

    An item's influence on a score is the score's gradient in the sums times what the item has
    beyond the mean (Efron 1982, section 6).
    """
    estimates: dict[str, _Estimate] = {}
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
            estimates[score.name] = (scores[:, number], error)
        start = end
    return estimates


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


def _permuted(a: Counted, b: Counted, resampling: Resampling) -> dict[str, Array]:
    """Returns differences of scores `[replicates]` where the two rows of each image are swapped
    with probability 1/2."""
    rng = np.random.default_rng([resampling.seed, 1])
    change, rows = b.values - a.values, []
    for size in _block_sizes(resampling.replicates):
        swapped = rng.integers(2, size=(size, len(change))).astype(np.float64)
        moved = swapped @ change
        first = a.of(a.values.sum(0) + moved)
        second = a.of(b.values.sum(0) - moved)
        rows.append({name: second[name] - first[name] for name in first})
    return _stacked(rows)


def permuted_differences(a: Counted, b: Counted, resampling: Resampling) -> dict[str, Compared]:
    """Returns every score of b less that of a, and the same under permutations.

    The same seed swaps the same images, whichever cells are compared. Raises ValueError as
    `drawn_differences` does.
    """
    _check_alike(a, b)
    here, there = a.corpus(), b.corpus()
    permuted = _permuted(a, b, resampling)
    return {name: Compared(float(there[name] - here[name]), permuted[name]) for name in here}


def _check_alike(a: Counted, b: Counted) -> None:
    if a.columns != b.columns:
        raise ValueError("other columns: compare the same metrics")
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} rows: compare the same images")


def drawn_differences(
    a: Counted, b: Counted, resampling: Resampling
) -> dict[str, tuple[float, Array]]:
    """Returns every score of b less that of a, and its bootstrap replicates on common draws of
    images.

    Raises ValueError where the images differ in number, or the columns at all.
    """
    _check_alike(a, b)
    here, there = a.corpus(), b.corpus()
    drawn_a, drawn_b = (resampled(counted, resampling) for counted in (a, b))
    return {name: (float(there[name] - here[name]), drawn_b[name] - drawn_a[name]) for name in here}


@lru_cache(maxsize=256)
def student_quantile(probability: float, freedom: int) -> float:
    """Returns the quantile of Student's t distribution at a probability above 1/2.

    P(|T| > t) is the regularised incomplete beta function I_x(freedom / 2, 1 / 2) at
    x = freedom / (freedom + t²) (Abramowitz & Stegun 26.5.27), which is solved for t by bisection.
    Raises ValueError for other probabilities, or without a degree of freedom.
    """
    if not 0.5 < probability < 1 or freedom < 1:
        raise ValueError(f"no quantile at {probability} with {freedom} degrees of freedom")
    import mpmath

    def excess(t: float) -> float:
        x = freedom / (freedom + t * t)
        outside = mpmath.betainc(freedom / 2, 0.5, 0, x, regularized=True)
        return float(outside) - 2 * (1 - probability)

    high = 1.0
    while excess(high) > 0:
        high *= 2
    root = mpmath.findroot(
        excess, (0, high), solver="bisect", tol=1e-12, maxsteps=100, verify=False
    )
    return float(root)


def sign_test(worse: int, better: int) -> float:
    """One-sided p-value of that many items getting worse where chance moves both ways alike."""
    changed = worse + better
    return sum(comb(changed, k) for k in range(worse, changed + 1)) / 2**changed


def interval_ends(replicates: Array, confidence: float) -> tuple[float, float]:
    """Returns the ends of the percentile interval of bootstrap replicates `[replicates]`."""
    low, high = np.quantile(replicates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def compare(
    a: Counted,
    b: Counted,
    resampling: Resampling,
    permuted: Mapping[str, Compared] | None = None,
) -> dict[str, Difference]:
    """Compares two cells on the same images, a row an image, in the same order.

    `permuted` are their `permuted_differences`, where these are known already.

    The bootstrap is paired (both systems on the same draw), signed and centred: the null
    distribution of a difference is that of its replicates about what was observed (Hall & Wilson
    1991, guideline 1); the permutation test is Noreen's approximate randomisation (1989). Raises
    ValueError as `drawn_differences` does.
    """
    drawn = drawn_differences(a, b, resampling)
    if permuted is None:
        permuted = permuted_differences(a, b, resampling)
    normal = NormalDist()
    reach = normal.inv_cdf(0.975) + normal.inv_cdf(POWER)
    rows: dict[str, Difference] = {}
    for name, (observed, replicates) in drawn.items():
        low, high = interval_ends(replicates, resampling.confidence)
        rows[name] = Difference(
            difference=observed,
            low=low,
            high=high,
            p_bootstrap=_share(np.abs(replicates - observed) >= abs(observed)),
            # Rounding must not decide whether a permutation is as extreme as what was observed.
            p_permutation=_share(np.abs(permuted[name].drawn) >= abs(observed) - 1e-9),
            detectable=reach * float(replicates.std()),
        )
    return rows


def _share(hits: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> float:
    """Returns a p-value that is never 0: what was observed counts as one of the draws."""
    return float((hits.sum() + 1) / (len(hits) + 1))
