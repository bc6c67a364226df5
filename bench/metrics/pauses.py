"""Speech share and pauses, by Silero's voice activity detector (MIT)."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from bench.common.audio import Wave
from bench.metrics.base import Array, AudioMetric, Measure, Score
from bench.metrics.packaged import PackagedWeights

_WEIGHTS = PackagedWeights(
    metric="pauses",
    module="silero_vad",
    release="silero-vad==6.2.3",
    file="data/silero_vad.onnx",
    digest="1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
)


class Pauses(AudioMetric):
    """The share of time with speech, the number of pauses a minute, and their mean length. A pause
    lies between two stretches of speech and takes at least 40 ms: 100 ms of silence less the
    detector's padding."""

    name = "pauses"
    columns = ("speech seconds", "seconds", "pauses", "pause seconds")
    scores = (
        Score("speech share", "SPEECH", display_priority=1, ranked=False),
        Score("pause rate", "PAUSES", display_priority=1, unit="pauses a minute", ranked=False),
        Score("mean pause", "PAUSE-S", display_priority=1, unit="seconds", ranked=False),
    )

    def weights(self) -> str:
        return _WEIGHTS.checked_digest()

    def measure(self, waves: Sequence[Wave]) -> Array:
        return self.loaded("cpu", 1)(waves)

    def loaded(self, device: str, threads: int) -> Measure:
        import torch

        _WEIGHTS.path()
        before = torch.get_num_threads()
        from silero_vad import get_speech_timestamps, load_silero_vad

        # Importing it sets PyTorch's threads to one for the whole process.
        torch.set_num_threads(before)
        model = load_silero_vad(onnx=True)

        def measure(waves: Sequence[Wave]) -> Array:
            stretches = (
                get_speech_timestamps(torch.from_numpy(wave.copy()), model, sampling_rate=self.rate)
                for wave in waves
            )
            pairs = zip(stretches, waves, strict=True)
            return np.array([_columns(spoken, len(wave), self.rate) for spoken, wave in pairs])

        return measure

    def score(self, sums: Array) -> Array:
        speech, seconds, pauses, pausing = np.moveaxis(sums, -1, 0)
        known = np.maximum(seconds, 1e-9)
        mean = pausing / np.maximum(pauses, 1e-9)
        return np.stack([100 * speech / known, 60 * pauses / known, mean], axis=-1)


def _columns(
    stretches: Sequence[Mapping[str, Any]], samples: int, rate: int
) -> tuple[float, float, float, float]:
    """Returns the columns of a clip from its stretches of speech, in samples."""
    speech = sum(stretch["end"] - stretch["start"] for stretch in stretches)
    gaps = [after["start"] - before["end"] for before, after in pairwise(stretches)]
    return speech / rate, samples / rate, float(len(gaps)), sum(gaps) / rate
