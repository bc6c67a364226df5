"""How many answers a difference needs.

A share of preferences against one half by the normal approximation, and a mean difference of
ratings; answers of one rater are alike, which counts by the design effect 1 + (m - 1) rho for m
answers a rater (Kish 1965, "Survey Sampling", section 5.4).
"""

import math
from statistics import NormalDist

LEVEL = 0.05
_NORMAL = NormalDist()


def design_effect(answers: float, alike: float) -> float:
    """By how much more answers are needed, with so many a rater that are alike by `alike`."""
    return 1 + max(answers - 1, 0) * alike


def pairs_needed(share: float, power: float) -> int:
    """Independent pairs that find a share of preferences (ties count half), two-sided at LEVEL.

    Fleiss, Levin & Paik 2003, "Statistical Methods for Rates and Proportions", equation 2.3.
    """
    level, sure = _NORMAL.inv_cdf(1 - LEVEL / 2), _NORMAL.inv_cdf(power)
    spread = level * 0.5 + sure * math.sqrt(share * (1 - share))
    return math.ceil((spread / (share - 0.5)) ** 2)


def ratings_needed(difference: float, spread: float, power: float) -> int:
    """Independent pairs of ratings that find a mean difference, `spread` the differences' own."""
    both = _NORMAL.inv_cdf(1 - LEVEL / 2) + _NORMAL.inv_cdf(power)
    return math.ceil((both * spread / difference) ** 2)


def raters_needed(answers: int, each: int, alike: float) -> int:
    """Raters of `each` answers that are worth so many independent ones."""
    return math.ceil(answers * design_effect(each, alike) / each)


def findable(error: float, power: float) -> float:
    """The difference that a standard error finds with that power, two-sided at LEVEL."""
    return error * (_NORMAL.inv_cdf(1 - LEVEL / 2) + _NORMAL.inv_cdf(power))
