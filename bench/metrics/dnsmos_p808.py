"""DNSMOS P.808 (Reddy et al. 2021): one rating of speech, as untrained listeners give it.

Weights are those of the package `speechmos` (MIT). Its code uses librosa's log-mel spectrograms,
which are computed here with NumPy.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.common.audio import Wave
from bench.metrics.base import Array, AudioMetric, Measure, Score
from bench.metrics.dnsmos import windows_of
from bench.metrics.packaged import PackagedWeights

_WEIGHTS = PackagedWeights(
    metric="dnsmos_p808",
    module="speechmos",
    release="speechmos==0.0.1.1",
    file="dnsmos_models/model_v8.onnx",
    digest="9246480c58567bc6affd4200938e77eef49468c8bc7ed3776d109c07456f6e91",
)
_SIZE, _HOP, _MELS = 321, 160, 120
"""Samples of a frame, samples from one frame to the next, and the number of mel bands."""
_QUIETEST_DECIBELS = 80.0
_LEAST_POWER = 1e-10

Spectrogram = npt.NDArray[np.float32]


class DnsmosP808(AudioMetric):
    """The mean rating; 5 is the best, and an item without speech gets the lowest, 1."""

    name = "DNSMOS P.808"
    columns = ("points", "items")
    scores = (Score("DNSMOS P.808", "P808", display_priority=1, most=5, unit="points from 1 to 5"),)
    absent = (1.0, 1.0)

    def weights(self) -> str:
        return _WEIGHTS.checked_digest()

    def measure(self, waves: Sequence[Wave]) -> Array:
        return self.loaded("cpu", 1)(waves)

    def loaded(self, device: str, threads: int) -> Measure:
        path = _WEIGHTS.path()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        session: Any = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )

        def points(wave: Wave) -> float:
            # The last hop of a window is left out, as in speechmos.
            inputs = [log_mel(window[:-_HOP])[None] for window in windows_of(wave, self.rate)]
            return float(np.mean([session.run(None, {"input_1": each})[0] for each in inputs]))

        return lambda waves: np.array([(points(wave), 1.0) for wave in waves])

    def score(self, sums: Array) -> Array:
        return sums[..., :1] / np.maximum(sums[..., 1:], 1e-9)


def log_mel(wave: Wave) -> Spectrogram:
    """Returns the spectrogram `[frames, 120]` of a clip `[T]` at 16 kHz: decibels relative to the
    loudest value, at least -80, plus 40, divided by 40.

    Frames are centred, with zeros beyond the ends, and weighted by a periodic Hann window; bands
    are Slaney's, each of the same area (librosa's defaults).
    """
    padded = np.pad(wave, _SIZE // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _SIZE)[::_HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_SIZE) / _SIZE)
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    decibels = 10 * np.log10(np.maximum(power @ _bands(), _LEAST_POWER))
    loudness = np.maximum(decibels - decibels.max(), -_QUIETEST_DECIBELS)
    return ((loudness + 40) / 40).astype(np.float32)


@lru_cache(maxsize=1)
def _bands() -> npt.NDArray[np.float64]:
    """Returns each frequency's weight in each mel band, `[161, 120]`: triangles of area 1."""
    frequencies = np.arange(_SIZE // 2 + 1)[:, None] * 16_000 / _SIZE
    edges = _hertz(np.linspace(0.0, _mels_at(8_000.0), _MELS + 2))
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    bands: npt.NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)
    return bands


_LINEAR_HERTZ, _LINEAR_MELS = 1_000.0, 15.0
_MELS_PER_OCTAVE = 27 * np.log(2) / np.log(6.4)
"""Slaney's scale: 15 mels up to 1 kHz, and 27 for every factor of 6.4 above."""


def _mels_at(hertz: float) -> float:
    """Returns the mels of a frequency above 1 kHz on Slaney's scale."""
    return float(_LINEAR_MELS + _MELS_PER_OCTAVE * np.log2(hertz / _LINEAR_HERTZ))


def _hertz(mels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    linear = mels * _LINEAR_HERTZ / _LINEAR_MELS
    octaves = (mels - _LINEAR_MELS) / _MELS_PER_OCTAVE
    return np.where(mels < _LINEAR_MELS, linear, _LINEAR_HERTZ * 2**octaves)
