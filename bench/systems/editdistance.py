"""Edit distances between sequences of units, compiled on first use.

All costs are whole numbers, so results do not depend on the compiler or machine.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

_jit: Any = numba.njit(cache=True, nogil=True)


@_jit  # type: ignore[untyped-decorator]
def edit_distances(
    units: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    costs: npt.NDArray[np.int32],
    gap: int,
) -> npt.NDArray[np.int64]:
    """Returns the lowest cost `[C, C]` of turning each sequence into each other one.

    Sequence `c` is `units[ends[c]:ends[c + 1]]`. Inserting or deleting a unit costs `gap`.
    Substituting unit `u` by `v` costs `costs[u, v]`, which is symmetric.
    """
    count = len(ends) - 1
    distances = np.zeros((count, count), dtype=np.int64)
    row = np.empty(len(units) + 1, dtype=np.int64)
    for first in range(count):
        for second in range(first):
            length = ends[second + 1] - ends[second]
            for j in range(length + 1):
                row[j] = j * gap
            for i in range(ends[first], ends[first + 1]):
                cost = costs[units[i]]
                diagonal, left = row[0], row[0] + gap
                row[0] = left
                for j in range(length):
                    above = row[j + 1]
                    best = diagonal + cost[units[ends[second] + j]]
                    left = min(best, min(above, left) + gap)
                    diagonal = above
                    row[j + 1] = left
            distances[first, second] = distances[second, first] = row[length]
    return distances
