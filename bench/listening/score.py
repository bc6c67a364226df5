"""Scores a listening test: preference, ratings, their intervals, and the agreement of raters.

Raters and pictures are both samples, so an interval resamples both at once (Owen 2007, "The
pigeonhole bootstrap", section 3).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.listening.answers import Answers, Condition
from bench.listening.power import findable

Array = npt.NDArray[np.float64]

CONDITIONS: tuple[Condition, ...] = ("a", "b", "reference", "anchor")
POWER = 0.8
REPLICATES = 2000
_WORTH = {"a": 0.0, "tie": 0.5, "b": 1.0}


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95% interval; `findable` is the difference that is detected with POWER."""

    value: float
    low: float
    high: float
    findable: float


@dataclass(frozen=True, kw_only=True)
class Result:
    """The scores of a test.

    `preference` is the share of pairs in which B is preferred to A; a tie counts half. `ratings`
    are by condition, and `difference` is the mean rating of B minus that of A. `agreement` are
    Krippendorff's alphas of pairs (nominal) and ratings (ordinal), NaN where no two raters answered
    the same. `inattentive` are raters who are left out because they failed a check.
    """

    a: str
    b: str
    raters: int
    inattentive: tuple[str, ...]
    pairs: int
    ties: int
    preference: Estimate
    ratings: dict[Condition, Estimate]
    difference: Estimate
    agreement: dict[str, float]


def score(answers: Sequence[Answers], seed: int = 0) -> Result:
    """Scores the raters who passed all checks; raises ValueError where there are none."""
    attentive = [a for a in answers if a.listened]
    if not attentive:
        raise ValueError("no rater answered every check right; there is nothing to score")
    inattentive = tuple(a.rater for a in answers if not a.listened)
    items = {i: n for n, i in enumerate(sorted({p.item for a in attentive for p in a.pairs}))}
    pairs = np.full((len(attentive), len(items)), np.nan)
    rated = np.full((len(CONDITIONS), len(attentive), len(items)), np.nan)
    for rater, rater_answers in enumerate(attentive):
        for pair in rater_answers.pairs:
            if not pair.check:
                pairs[rater, items[pair.item]] = _WORTH[pair.answer]
        for rating in rater_answers.ratings:
            if rating.item in items:
                at = CONDITIONS.index(rating.of), rater, items[rating.item]
                rated[at] = rating.rating
    ratings = {
        of: _estimate(rated[n], seed)
        for n, of in enumerate(CONDITIONS)
        if not np.isnan(rated[n]).all()
    }
    both = rated[1] - rated[0]
    return Result(
        a=attentive[0].a.label,
        b=attentive[0].b.label,
        raters=len(attentive),
        inattentive=inattentive,
        pairs=int((~np.isnan(pairs)).sum()),
        ties=int((pairs == _WORTH["tie"]).sum()),
        preference=_estimate(pairs, seed, 0.0, 1.0),
        ratings=ratings,
        difference=_estimate(both, seed),
        agreement={"pairs": _alpha(pairs, "nominal"), "ratings": _alpha(_flat(rated), "ordinal")},
    )


def _flat(rated: Array) -> Array:
    """Returns ratings `[C, R, I]` as raters × units, `[R, C * I]`."""
    return rated.transpose(1, 0, 2).reshape(rated.shape[1], -1)


def _alpha(values: Array, level: str) -> float:
    """Returns Krippendorff's alpha of raters × units; NaN where it is not defined."""
    import krippendorff

    several = (~np.isnan(values)).sum(0) > 1
    if not several.any() or len(np.unique(values[:, several][~np.isnan(values[:, several])])) < 2:
        return float("nan")
    alpha: Callable[..., float] = krippendorff.alpha
    return float(alpha(reliability_data=values, level_of_measurement=level))


def _estimate(values: Array, seed: int, least: float = -np.inf, most: float = np.inf) -> Estimate:
    """Returns the mean of answers `[raters, items]` and its interval; missing answers are NaN."""
    given = ~np.isnan(values)
    if not given.any():
        return Estimate(*(float("nan"),) * 4)
    filled = np.where(given, values, 0.0)
    rng = np.random.default_rng(seed)
    raters, items = values.shape
    drawn = np.full(REPLICATES, np.nan)
    for replicate in range(REPLICATES):
        weights = np.outer(
            rng.multinomial(raters, np.full(raters, 1 / raters)) if raters > 1 else [1],
            rng.multinomial(items, np.full(items, 1 / items)),
        )
        count = (weights * given).sum()
        if count:
            drawn[replicate] = (weights * filled).sum() / count
    mean = float(filled.sum() / given.sum())
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    error = float(np.nanstd(drawn))
    return Estimate(mean, float(max(low, least)), float(min(high, most)), findable(error, POWER))
