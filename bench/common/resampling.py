"""The settings of bootstrap intervals and permutation tests."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """The settings of all bootstrap intervals and permutation tests of a job.

    `replicates` is the number of bootstrap replicates and of permutations, `confidence` the level
    of the intervals (0.95 for 95% intervals), and `seed` that of the random numbers.
    """

    replicates: int = 2000
    confidence: float = 0.95
    seed: int = 0
