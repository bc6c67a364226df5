"""Attention of one decoding step on a CPU; every row reads only its own keys.

These are compiled loops because rows are at different positions: batched matrix products would
read, for every row, as much as the longest row needs, and their rounding would depend on it. Here a
row's result is a function of that row alone, whatever else is in the batch, and rows of the same
image read the same memory.

The arithmetic is IEEE 754 float32 in the order written here. No sum may be reassociated and no
product fused into a sum. So results are bit for bit the same for every compiler version and vector
width, and whether the code was compiled in this process or loaded from numba's cache. Loops over
independent numbers are still vectorised; sums are written as two halves that are added.
"""

from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from pixvox.cache import cache_folder, is_writable

Array = npt.NDArray[np.float32]


def use_threads_of_torch() -> None:
    """Makes the loops use as many threads as PyTorch's products do."""
    import torch

    threads = torch.get_num_threads()
    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
    # Numba starts its threads here, as many as there are cores. If both use the same OpenMP, that
    # becomes PyTorch's number too.
    torch.set_num_threads(threads)


# Beside this file, or in the user's cache; without either numba compiles nothing.
if not numba.config.CACHE_DIR and not is_writable(Path(__file__).parent / "__pycache__"):
    numba.config.CACHE_DIR = str(cache_folder() / "numba")

# Compiled on first use and cached; numba finds only functions of a module in its cache. Without
# fastmath, for the reasons above.
_jit: Any = numba.njit(cache=True, nogil=True, error_model="numpy")
_parallel: Any = numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)


@_jit  # type: ignore[untyped-decorator]
def _highest(values: Array, work: Array) -> np.float32:
    count = values.shape[0]
    work[:count] = values
    while count > 1:
        half = (count + 1) // 2
        for i in range(count - half):
            work[i] = max(work[i], work[half + i])
        count = half
    return work[0]


@_jit  # type: ignore[untyped-decorator]
def _sum(values: Array, work: Array) -> np.float32:
    count = values.shape[0]
    work[:count] = values
    while count > 1:
        half = (count + 1) // 2
        for i in range(count - half):
            work[i] += work[half + i]
        count = half
    return work[0]


@_jit  # type: ignore[untyped-decorator]
def _exponentials(scores: Array, highest: np.float32) -> None:
    """Replaces scores by exp(score - highest).

    The exponential is 2^n times a polynomial (Cephes' expf; relative error below 2e-7): a call to
    the C library's function cannot be vectorised, and another library would round differently.
    """
    for s in range(scores.shape[0]):
        x = max(scores[s] - highest, np.float32(-87))
        n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
        x = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
        y = np.float32(1.9875691500e-4)
        y = y * x + np.float32(1.3981999507e-3)
        y = y * x + np.float32(8.3334519073e-3)
        y = y * x + np.float32(4.1665795894e-2)
        y = y * x + np.float32(1.6666665459e-1)
        y = y * x + np.float32(5.0000001201e-1)
        power = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
        scores[s] = (y * x * x + x + np.float32(1)) * power


@_jit  # type: ignore[untyped-decorator]
def _attend_head(query: Array, keys: Array, values: Array, used: int, out: Array) -> None:
    """Attends with one head of one row to `used` keys `[D, S]` and values `[S, D]`, into `out
    [D]`."""
    size = query.shape[0]
    scale = np.float32(1.0 / np.sqrt(size))
    scores, work = np.zeros(used, np.float32), np.empty(used, np.float32)
    # Four at a time, because a pass over the scores takes longer than its products.
    fours = size - size % 4
    for d in range(0, fours, 4):
        a, b, c, e = (
            query[d] * scale,
            query[d + 1] * scale,
            query[d + 2] * scale,
            query[d + 3] * scale,
        )
        for s in range(used):
            scores[s] += (a * keys[d, s] + b * keys[d + 1, s]) + (
                c * keys[d + 2, s] + e * keys[d + 3, s]
            )
    for d in range(fours, size):
        a = query[d] * scale
        for s in range(used):
            scores[s] += a * keys[d, s]
    highest = _highest(scores, work)
    # The maximum ignores NaN, so a sum is used to detect it.
    finite = np.isfinite(_sum(scores, work))
    _exponentials(scores, highest)
    total = _sum(scores, work) if finite else np.float32(np.nan)
    for d in range(size):
        out[d] = np.float32(0)
    fours = used - used % 4
    for s in range(0, fours, 4):
        a, b, c, e = scores[s], scores[s + 1], scores[s + 2], scores[s + 3]
        for d in range(size):
            out[d] += (a * values[s, d] + b * values[s + 1, d]) + (
                c * values[s + 2, d] + e * values[s + 3, d]
            )
    for s in range(fours, used):
        a = scores[s]
        for d in range(size):
            out[d] += a * values[s, d]
    for d in range(size):
        out[d] /= total


@_parallel  # type: ignore[untyped-decorator]
def attend(
    queries: Array, keys: Array, values: Array, owner: Array, used: Array, out: Array
) -> None:
    """Row b of `queries [B, H, D]` attends to the first `used[b]` keys of memory `owner[b]`.

    Writes `out [B, H, D]`. Keys are `[M, H, D, P]`, values `[M, H, P, D]`, so that both products
    run along memory.
    """
    rows, heads = queries.shape[0], queries.shape[1]
    for index in numba.prange(rows * heads):
        row, h = index // heads, index % heads
        # Rows of the two halves alternate: guided rows all read one memory, which stays in the
        # cache, so a thread with only such rows would wait for the others.
        b = row // 2 + row % 2 * ((rows + 1) // 2)
        m = owner[b]
        _attend_head(queries[b, h], keys[m, h], values[m, h], used[b], out[b, h])


@_parallel  # type: ignore[untyped-decorator]
def append_and_attend(qkv: Array, keys: Array, values: Array, position: Array, out: Array) -> None:
    """Writes row b's key and value at `position[b]`, then attends to its keys up to there.

    Reads `qkv [B, 3, H, D]` and writes `out [B, H, D]`; keys are `[B, H, D, S]`, values `[B, H, S,
    D]`.
    """
    heads = qkv.shape[2]
    for index in numba.prange(qkv.shape[0] * heads):
        b, h = index // heads, index % heads
        at = position[b]
        keys[b, h, :, at] = qkv[b, 1, h]
        values[b, h, at] = qkv[b, 2, h]
        _attend_head(qkv[b, 0, h], keys[b, h], values[b, h], at + 1, out[b, h])
