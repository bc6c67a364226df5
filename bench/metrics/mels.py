"""Mel spectrograms with librosa's defaults, in NumPy."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from bench.common.audio import Wave

RATE = 16_000
Powers = npt.NDArray[np.float64]


def mel_power(wave: Wave, *, size: int, hop: int, mels: int) -> Powers:
    """The power in mel bands, `[frames, mels]`, of a clip `[T]` at 16 kHz.

    Frames have `size` samples, `hop` samples apart. They are centred, with zeros beyond the ends,
    and weighted by a periodic Hann window; bands are Slaney's, each of the same area.
    """
    padded = np.pad(wave, size // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    power: Powers = np.abs(np.fft.rfft(frames * window)) ** 2
    return power @ _bands(size, mels)


@lru_cache(maxsize=4)
def _bands(size: int, mels: int) -> Powers:
    """The weights of each frequency in each mel band, `[size // 2 + 1, mels]`: triangles of area
    1."""
    frequencies = np.arange(size // 2 + 1)[:, None] * RATE / size
    edges = _hertz(np.linspace(0.0, _mels_at(RATE / 2), mels + 2))
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    bands: Powers = np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)
    return bands


_LINEAR_HERTZ, _LINEAR_MELS = 1_000.0, 15.0
_MELS_PER_OCTAVE = 27 * np.log(2) / np.log(6.4)
"""Slaney's scale: 15 mels up to 1 kHz, and 27 for every factor of 6.4 above."""


def _mels_at(hertz: float) -> float:
    """Slaney's mels of a frequency above 1 kHz."""
    return float(_LINEAR_MELS + _MELS_PER_OCTAVE * np.log2(hertz / _LINEAR_HERTZ))


def _hertz(mels: Powers) -> Powers:
    linear = mels * _LINEAR_HERTZ / _LINEAR_MELS
    octaves = (mels - _LINEAR_MELS) / _MELS_PER_OCTAVE
    return np.where(mels < _LINEAR_MELS, linear, _LINEAR_HERTZ * 2**octaves)
