"""DNSMOS P.835 (Reddy et al. 2022): ratings of speech, predicted by a model of listeners' ratings.

Weights and formulas are those of the package `speechmos` (MIT), whose own code needs librosa for
P.808 (see bench.metrics.dnsmos_p808). A clip is repeated until it is as long as the model's input
window. The window moves in steps of a second, and its ratings are averaged.
"""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bench.common.audio import Wave
from bench.common.errors import UserError
from bench.metrics.base import SHORT, Array, AudioMetric, Measure, Score
from pixvox.digests import file_digest

_DIGEST = "269fbebdb513aa23cddfbb593542ecc540284a91849ac50516870e1ac78f6edd"
"""SHA-256 of the weights in speechmos 0.0.1.1, `dnsmos_models/sig_bak_ovr.onnx`."""
_WINDOW_SECONDS = 9.01
_UNIT = "points from 1 to 5"
# Polynomials from the model's outputs to points, highest power first: signal, background, overall.
_POINTS = (
    (-0.08397278, 1.22083953, 0.0052439),
    (-0.13166888, 1.60915514, -0.39604546),
    (-0.06766283, 1.11546468, 0.04602535),
)


class Dnsmos(AudioMetric):
    """Mean ratings of overall quality, speech signal and background; 5 is the best.

    An item without speech gets the lowest rating, 1.
    """

    name = "DNSMOS"
    columns = ("signal", "background", "overall", "items")
    scores = (
        Score("DNSMOS OVRL", "OVRL", display_priority=SHORT, most=5, unit=_UNIT),
        Score("DNSMOS SIG", "SIG", display_priority=1, most=5, unit=_UNIT),
        Score("DNSMOS BAK", "BAK", display_priority=1, most=5, unit=_UNIT),
    )
    absent = (1.0, 1.0, 1.0, 1.0)

    def weights(self) -> str:
        """Returns the weights' digest; raises UserError unless it is that of speechmos 0.0.1.1."""
        return _weights()[1][:16]

    def measure(self, waves: Sequence[Wave]) -> Array:
        return self.loaded("cpu", 1)(waves)

    def loaded(self, device: str, threads: int) -> Measure:
        """Returns `measure` with the model loaded; it always computes on the CPU."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        session = onnxruntime.InferenceSession(
            _weights()[0], options, providers=["CPUExecutionProvider"]
        )

        def measure(waves: Sequence[Wave]) -> Array:
            return np.array([(*_points(session, wave, self.rate), 1.0) for wave in waves])

        return measure

    def score(self, sums: Array) -> Array:
        """Returns overall, signal and background, `[..., 3]`, in points."""
        means = sums[..., :3] / np.maximum(sums[..., 3:], 1e-9)
        return means[..., [2, 0, 1]]


def _weights() -> tuple[Path, str]:
    """Returns the file of the weights and its digest; raises UserError unless it is the pinned
    one."""
    package = find_spec("speechmos")
    if package is None or not package.submodule_search_locations or not find_spec("onnxruntime"):
        raise UserError(
            "scoring: metrics: dnsmos: is not installed; in a clone of the suite: "
            "pip install '.[quality]'"
        )
    path = Path(package.submodule_search_locations[0]) / "dnsmos_models" / "sig_bak_ovr.onnx"
    digest = file_digest(path) if path.is_file() else ""
    if digest != _DIGEST:
        raise UserError(
            "scoring: metrics: dnsmos: its weights are not those of speechmos 0.0.1.1; run: "
            "pip install --force-reinstall --no-deps speechmos==0.0.1.1"
        )
    return path, digest


def windows_of(wave: Wave, rate: int) -> Iterator[Wave]:
    """Yields the windows of 9.01 s of a clip `[T]` at a rate in Hz, a second apart.

    Like speechmos.dnsmos, it leaves out a window that is too short by rounding.
    """
    # Clipped at full scale, as the sound is stored and played.
    sound = np.clip(wave, -1, 1).astype(np.float32)
    length = int(_WINDOW_SECONDS * rate)
    while len(sound) < length:
        sound = np.append(sound, sound)
    for number in range(int(np.floor(len(sound) / rate) - _WINDOW_SECONDS) + 1):
        window = sound[number * rate : int((number + _WINDOW_SECONDS) * rate)]
        if len(window) == length:
            yield window


def _points(session: Any, wave: Wave, rate: int) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Returns signal, background and overall, `[3]`, of a clip `[T]` at a rate in Hz."""
    points = []
    for window in windows_of(wave, rate):
        (outputs,) = session.run(None, {"input_1": window[None]})[0].astype(np.float64)
        pairs = zip(_POINTS, outputs, strict=True)
        points.append([np.polyval(powers, output) for powers, output in pairs])
    return np.mean(points, axis=0)
