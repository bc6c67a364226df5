"""The number of answers that a listening test needs to detect a difference.

A share of preferences is compared with one half by the normal approximation, and a mean difference
of ratings with 0. Answers of one rater are correlated, which the design effect 1 + (m - 1) rho for
m answers a rater takes into account (Kish 1965, "Survey Sampling", section 5.4).
"""

import math
from statistics import NormalDist

LEVEL = 0.05
_NORMAL = NormalDist()


def design_effect(answers: float, correlation: float) -> float:
    """Returns the factor by which more answers are needed, with so many correlated ones a rater."""
    return 1 + max(answers - 1, 0) * correlation


def pairs_needed(share: float, power: float) -> int:
    """Returns the independent pairs that detect a share of preferences, two-sided at LEVEL.

    A tie counts half. Fleiss, Levin & Paik 2003, "Statistical Methods for Rates and Proportions",
    equation 2.3.
    """
    level, sure = _NORMAL.inv_cdf(1 - LEVEL / 2), _NORMAL.inv_cdf(power)
    spread = level * 0.5 + sure * math.sqrt(share * (1 - share))
    return math.ceil((spread / (share - 0.5)) ** 2)


def ratings_needed(difference: float, spread: float, power: float) -> int:
    """Returns the independent pairs of ratings that detect a mean difference.

    `spread` is the standard deviation of the differences. The test is two-sided at LEVEL.
    """
    both = _NORMAL.inv_cdf(1 - LEVEL / 2) + _NORMAL.inv_cdf(power)
    return math.ceil((both * spread / difference) ** 2)


def raters_needed(answers: int, each: int, correlation: float) -> int:
    """Returns the raters, with `each` answers, that equal so many independent answers."""
    return math.ceil(answers * design_effect(each, correlation) / each)


def findable(error: float, power: float) -> float:
    """Returns the difference detected with a standard error and power, two-sided at LEVEL."""
    return error * (_NORMAL.inv_cdf(1 - LEVEL / 2) + _NORMAL.inv_cdf(power))
