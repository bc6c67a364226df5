"""The pitch of voices and its variation: the fundamental frequency by SwiftF0 (MIT)."""

from collections.abc import Sequence

import numpy as np

from bench.common.audio import Wave
from bench.metrics.base import Array, AudioMetric, Measure, Score
from bench.metrics.packaged import PackagedWeights

_WEIGHTS = PackagedWeights(
    metric="pitch",
    module="swift_f0",
    release="swift-f0==0.3.0",
    file="model.onnx",
    digest="6385e8c2ebc3872e82c9ff5946228de44cd3be77a750ea53698b7dbfe94b0a22",
)
_VOICED = 0.5
"""The confidence from which a frame is voiced, as in SwiftF0."""
_BASE_HERTZ = 100.0


class Pitch(AudioMetric):
    """The geometric mean of F0 over voiced frames, its standard deviation within a clip, and the
    share of voiced frames; a frame is 16 ms. Unvoiced frames count only in the share."""

    name = "pitch"
    columns = ("octaves above 100 Hz", "squares within the clip", "voiced frames", "frames")
    scores = (
        Score("F0", "F0", display_priority=1, unit="Hz", ranked=False),
        Score("F0 deviation", "F0-SD", display_priority=1, unit="semitones", ranked=False),
        Score("voiced share", "VOICED", display_priority=1, ranked=False),
    )

    def weights(self) -> str:
        return _WEIGHTS.checked_digest()

    def measure(self, waves: Sequence[Wave]) -> Array:
        return self.loaded("cpu", 1)(waves)

    def loaded(self, device: str, threads: int) -> Measure:
        _WEIGHTS.path()
        from swift_f0 import SwiftF0

        detector = SwiftF0(threads=threads, spin=False)

        def measure(waves: Sequence[Wave]) -> Array:
            return np.array([_columns(detector.detect(wave, self.rate)) for wave in waves])

        return measure

    def score(self, sums: Array) -> Array:
        octaves, squares, voiced, frames = np.moveaxis(sums, -1, 0)
        known = np.maximum(voiced, 1e-9)
        hertz = np.where(voiced > 0, _BASE_HERTZ * 2 ** (octaves / known), 0.0)
        semitones = 12 * np.sqrt(squares / known)
        return np.stack([hertz, semitones, 100 * voiced / np.maximum(frames, 1e-9)], axis=-1)


def _columns(result: object) -> tuple[float, float, float, float]:
    """Returns the columns of a clip from SwiftF0's result for its frames."""
    pitch, confidence = (np.asarray(getattr(result, name)) for name in ("pitch_hz", "confidence"))
    octaves = np.log2(pitch[confidence >= _VOICED] / _BASE_HERTZ)
    squares = len(octaves) * float(octaves.var()) if len(octaves) else 0.0
    return float(octaves.sum()), squares, float(len(octaves)), float(len(pitch))
