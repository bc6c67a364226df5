"""One decoding step's attention on CPU: every row reads exactly the keys that it has.

Written as compiled loops because rows stand at different positions: batched matrix products would
read, for every row, as much as the longest needs, and their rounding would depend on it. Here a
row's result is a function of the row alone, whatever shares the batch, and rows that look at the
same image read the same memory.
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


def use_threads_of_torch() -> None:
    """Has the loops use as many threads as PyTorch's products do here."""
    import torch

    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))


# Sums may be vectorised; infinities keep their meaning, so a diverged model stays visible.
_FAST = {"reassoc", "contract", "nsz", "arcp"}
# Compiled on first use and cached beside this file: only functions of a module are found there
# again, those of a function never.
_jit: Any = numba.njit(cache=True, fastmath=_FAST, nogil=True)
_parallel: Any = numba.njit(cache=True, fastmath=_FAST, nogil=True, parallel=True)


@_jit  # type: ignore[untyped-decorator]
def _weigh(scores: Array, used: int) -> np.float32:
    """Turns scores into exp(score - highest) and returns their sum.

    The exponential is 2^n times a polynomial (Cephes' expf; relative error below 2e-7),
    because a call to the C library's cannot be vectorised.
    """
    highest = scores[0]
    for s in range(used):
        highest = max(highest, scores[s])
    bits = np.empty(used, np.int32)
    for s in range(used):
        x = max(scores[s] - highest, np.float32(-87))
        n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
        x = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
        y = np.float32(1.9875691500e-4)
        y = y * x + np.float32(1.3981999507e-3)
        y = y * x + np.float32(8.3334519073e-3)
        y = y * x + np.float32(4.1665795894e-2)
        y = y * x + np.float32(1.6666665459e-1)
        y = y * x + np.float32(5.0000001201e-1)
        scores[s] = y * x * x + x + np.float32(1)
        bits[s] = (np.int32(n) + np.int32(127)) << np.int32(23)
    powers = bits.view(np.float32)
    total = np.float32(0)
    for s in range(used):
        scores[s] *= powers[s]
        total += scores[s]
    return total


@_jit  # type: ignore[untyped-decorator]
def _across(query: Array, keys: Array, scores: Array) -> None:
    for d in range(query.shape[0]):
        for s in range(scores.shape[0]):
            scores[s] += query[d] * keys[d, s]


@_jit  # type: ignore[untyped-decorator]
def _along(query: Array, keys: Array, scores: Array) -> None:
    for s in range(scores.shape[0]):
        total = np.float32(0)
        for d in range(query.shape[0]):
            total += query[d] * keys[s, d]
        scores[s] = total


@_jit  # type: ignore[untyped-decorator]
def _gather(scores: Array, values: Array, out: Array) -> None:
    used, size = scores.shape[0], out.shape[0]
    scale = np.float32(1.0 / np.sqrt(size))
    for s in range(used):
        scores[s] *= scale
    total = _weigh(scores, used)
    summed = np.zeros(size, np.float32)
    for s in range(used):
        share = scores[s]
        for d in range(size):
            summed[d] += share * values[s, d]
    for d in range(size):
        out[d] = summed[d] / total


@_parallel  # type: ignore[untyped-decorator]
def attend(queries: Array, keys: Array, values: Array, owner: Array, out: Array) -> None:
    """Row b of `queries [B, H, D]` attends to all of memory `owner[b]`, into `out [B, H, D]`.

    Keys lie `[M, H, D, P]`, values `[M, H, P, D]`, so that both products run along memory.
    """
    heads = queries.shape[1]
    for index in numba.prange(queries.shape[0] * heads):
        b, h = index // heads, index % heads
        m = owner[b]
        scores = np.zeros(values.shape[2], np.float32)
        _across(queries[b, h], keys[m, h], scores)
        _gather(scores, values[m, h], out[b, h])


@_parallel  # type: ignore[untyped-decorator]
def append_and_attend(qkv: Array, keys: Array, values: Array, position: Array, out: Array) -> None:
    """Writes row b's key and value at `position[b]`, then attends to what it has so far.

    `qkv [B, 3, H, D]`; keys and values lie `[B, H, S, D]`, because they grow: in the other order
    each step would touch as many pages as a head has numbers.
    """
    heads = qkv.shape[2]
    for index in numba.prange(qkv.shape[0] * heads):
        b, h = index // heads, index % heads
        at = position[b]
        keys[b, h, at] = qkv[b, 1, h]
        values[b, h, at] = qkv[b, 2, h]
        scores = np.empty(at + 1, np.float32)
        _along(qkv[b, 0, h], keys[b, h], scores)
        _gather(scores, values[b, h], out[b, h])
