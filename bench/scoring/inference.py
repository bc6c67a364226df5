"""Uncertainty from sufficient statistics: intervals, and tests between two cells.

Images are resampled: all rows of an image (its seeds, both systems) stay together. A resampled
corpus is a row of counts; its scores come from one matrix product.
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
"""A replicate whose standard error is below _LEAST times the score's is excluded from the
studentised bootstrap. If less than the share _FAIR remain, as for a share near 100%, the interval
is the plain bootstrap's."""
_BLOCK = 500
"""Replicates drawn at once, to limit memory; the draws do not depend on it."""


@dataclass(frozen=True)
class Interval:
    """A score in its unit with its interval, which includes the score."""

    score: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One metric of system b minus that of a, on the same images.

    `p_bootstrap` and `p_permutation` test that the difference is 0, for this comparison alone (see
    bench.scoring.families for several). `detectable` is the difference that a test at the 5% level
    detects with a power of 80%.
    """

    difference: float
    low: float
    high: float
    p_bootstrap: float
    p_permutation: float
    detectable: float


def _block_sizes(replicates: int) -> Iterator[int]:
    """Yields the number of replicates in each block, at most `_BLOCK`."""
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
    """Returns every score with its bootstrap interval, the union of the studentised and plain ones.

    A plain interval is too short on the side where scores are rarer, most of all near 0. In the
    studentised one (Efron & Tibshirani 1993, 12.5) each replicate's deviation is divided by its own
    standard error, estimated by the infinitesimal jackknife; it is too short if few images
    determine the score. The metrics' priors (see Metric) are one additional item with an
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
        # A replicate without the few images that determine the error has no usable error.
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

    An item's influence on a score is the score's gradient with respect to the sums times the item's
    difference from the mean (Efron 1982, section 6).
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
    """Returns scores `[R, K]` at sums `[R, C]`, and their gradients, `[R, K, C]`."""
    at = score(sums)
    slopes = np.empty((*at.shape, sums.shape[1]))
    for column in range(sums.shape[1]):
        step = 1e-4 * np.maximum(np.abs(sums[:, column]), 1.0)
        moved = sums.copy()
        moved[:, column] += step
        slopes[:, :, column] = (score(moved) - at) / step[:, None]
    return at, slopes


def _permuted(a: Counted, b: Counted, resampling: Resampling) -> dict[str, Array]:
    """Returns differences of scores `[replicates]`; each image's rows are swapped at random."""
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
    """Returns every score of b minus that of a, and these differences after the results of a and b
    are swapped at random for each image, once a replicate.

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
    """Returns every score of b minus that of a, and its bootstrap replicates on common draws of
    images.

    Raises ValueError if the numbers of images or the columns differ.
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
    """Returns the one-sided p-value of so many items getting worse if both are equally likely."""
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
    """Compares two cells on the same images, one row for each image, in the same order.

    `permuted` are their `permuted_differences`, if already computed. The bootstrap is paired (both
    systems on the same draw), signed and centred: the null distribution of a difference is that of
    its replicates minus the observed one (Hall & Wilson 1991, guideline 1). The permutation test is
    Noreen's approximate randomisation (1989). Raises ValueError as `drawn_differences` does.
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
            # Rounding must not decide whether a permutation is as extreme as the observed
            # difference.
            p_permutation=_share(np.abs(permuted[name].drawn) >= abs(observed) - 1e-9),
            detectable=reach * float(replicates.std()),
        )
    return rows


def _share(hits: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> float:
    """Returns a p-value that is never 0: the observed difference counts as one of the draws."""
    return float((hits.sum() + 1) / (len(hits) + 1))
