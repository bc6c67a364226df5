"""DNSMOS P.808 (Reddy et al. 2021): one rating of speech, as untrained listeners give it.

Weights are those of the package `speechmos` (MIT). Its code uses librosa's log-mel spectrograms,
which are computed here with NumPy.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.common.audio import Wave
from bench.metrics.base import Array, AudioMetric, Measure, Score
from bench.metrics.dnsmos import windows_of
from bench.metrics.mels import mel_power
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
    """The spectrogram `[frames, 120]` of a clip `[T]` at 16 kHz: decibels below the loudest, at
    most 80, plus 40, over 40."""
    power = mel_power(wave, size=_SIZE, hop=_HOP, mels=_MELS)
    decibels = 10 * np.log10(np.maximum(power, _LEAST_POWER))
    loudness = np.maximum(decibels - decibels.max(), -_QUIETEST_DECIBELS)
    return ((loudness + 40) / 40).astype(np.float32)
