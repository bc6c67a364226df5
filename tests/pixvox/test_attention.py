"""The compiled attention loops are the arithmetic that is written down, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pixvox.decoding.attention import Array, append_and_attend, attend

pytestmark = pytest.mark.slow

F = np.float32


def _halved(values: Array, join: np.ufunc) -> np.float32:
    while len(values) > 1:
        half = (len(values) + 1) // 2
        low, high = values[:half].copy(), values[half:]
        low[: len(high)] = join(low[: len(high)], high)
        values = low
    return values[0]


def _fours(weights: Array, rows: Array, out: Array) -> Array:
    """The sum of rows `[N, M]` by their weights `[N]`, four at a time."""
    count = len(weights) - len(weights) % 4
    parts = weights[:, None] * rows
    for i in range(0, count, 4):
        out = out + ((parts[i] + parts[i + 1]) + (parts[i + 2] + parts[i + 3]))
    for part in parts[count:]:
        out = out + part
    return out


def _attention(query: Array, keys: Array, values: Array) -> Array:
    """The same arithmetic in NumPy, whose elementwise float32 is IEEE 754: keys `[D, S]`."""
    scores = _fours(query * F(1 / np.sqrt(len(query))), keys, np.zeros(keys.shape[1], F))
    x = np.maximum(scores - _halved(scores, np.maximum), F(-87))
    n = np.floor(x * F(1.44269504) + F(0.5))
    x = x - n * F(0.693359375) + n * F(2.12194440e-4)
    y = np.full_like(x, F(1.9875691500e-4))
    for factor in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5):
        y = y * x + F(factor)
    scores = (y * x * x + x + F(1)) * np.ldexp(F(1), n.astype(np.int32))
    weighed = _fours(scores, values, np.zeros(values.shape[1], F))
    return weighed / _halved(scores, np.add)


def _numbers(*shape: int) -> Array:
    rng = np.random.default_rng(shape)
    # Some scores far apart, so that the smallest exponentials are met too.
    return rng.standard_normal(shape, dtype=F) * F(3)


@pytest.mark.parametrize("size", [64, 33])
def test_attention_is_the_reference_bit_for_bit(size: int) -> None:
    rows, heads, most = 5, 2, 70
    position = np.array([0, 1, 16, 37, 69])
    qkv, keys = _numbers(rows, 3, heads, size), _numbers(rows, heads, size, most)
    values, out = _numbers(rows, heads, most, size), np.zeros((rows, heads, size), F)
    append_and_attend(qkv, keys, values, position, out)
    for b, at in enumerate(position):
        for h in range(heads):
            np.testing.assert_array_equal(keys[b, h, :, at], qkv[b, 1, h])
            used = (keys[b, h, :, : at + 1], values[b, h, : at + 1])
            np.testing.assert_array_equal(out[b, h], _attention(qkv[b, 0, h], *used))
    owner, used = np.array([0, 0, 1, 1, 1]), np.array([most, 3, most, 50, 17])
    attend(qkv[:, 0].copy(), keys, values, owner, used, out)
    for b, m in enumerate(owner):
        for h in range(heads):
            first = keys[m, h, :, : used[b]], values[m, h, : used[b]]
            expected = _attention(qkv[b, 0, h], *first)
            np.testing.assert_array_equal(out[b, h], expected)


_PROGRAM = """
import hashlib, sys
import numpy as np
from pixvox.decoding.attention import append_and_attend
rng = np.random.default_rng(0)
draw = lambda *shape: rng.standard_normal(shape, dtype=np.float32)
out = np.zeros((8, 4, 64), np.float32)
append_and_attend(draw(8, 3, 4, 64), draw(8, 4, 64, 99), draw(8, 4, 99, 64), np.arange(8) * 12, out)
sys.stdout.write(hashlib.sha256(out.tobytes()).hexdigest())
"""


_OF_PYTORCH = """
import ctypes
import numba, torch
from pixvox.decoding.attention import use_threads_of_torch
torch.set_num_threads(1)
use_threads_of_torch()
# Five columns and a path, which may have spaces.
mapped = {line.split(None, 5)[-1].strip() for line in open("/proc/self/maps")}
for path in mapped:
    if "/torch/" in path and "omp" in path.rsplit("/", 1)[-1]:
        print(ctypes.CDLL(path).omp_get_max_threads())
"""


def _said(program: str, **environment: str) -> str:
    command = [sys.executable, "-c", program]
    changed = os.environ | environment
    return subprocess.run(command, env=changed, capture_output=True, text=True, check=True).stdout


def _digest(cache: Path, **environment: str) -> str:
    return _said(_PROGRAM, NUMBA_CACHE_DIR=str(cache), **environment)


def test_numba_leaves_pytorch_the_threads_that_it_was_given() -> None:
    # A generator of one thread that took all cores would take them from the transcribers.
    assert _said(_OF_PYTORCH, NUMBA_NUM_THREADS="2", OMP_NUM_THREADS="2") in ("1\n", "")


def test_compiled_and_loaded_code_and_narrow_vectors_give_the_same_bits(tmp_path: Path) -> None:
    cold = _digest(tmp_path / "cache")
    assert any((tmp_path / "cache").rglob("*.nbi"))
    assert _digest(tmp_path / "cache") == cold
    # The generic name has no vectors wider than 128 bits and no fused multiply-add.
    assert _digest(tmp_path / "other", NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES="") == cold
