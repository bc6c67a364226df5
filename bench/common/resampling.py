"""How intervals and tests are drawn: one object that every function which draws is given."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """The settings of all bootstrap intervals and permutation tests of a job.

    `replicates` is how many bootstrap replicates and permutations are drawn, `confidence` the
    share of intervals that hold the true score (0.95 for 95% intervals), and `seed` decides which
    images are drawn or swapped.
    """

    replicates: int = 2000
    confidence: float = 0.95
    seed: int = 0
