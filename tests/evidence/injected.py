"""A model with one fault, for jobs/faults.yaml: another picture, or noise over its speech."""

from pathlib import Path
from typing import Any

import numpy as np

from bench.systems.noise import white


class Injected:
    """The shipped Delay model, with another picture of the folder, or with white noise over it.

    `fault` is `none`, `images` or `noise`; `snr` is the noise's signal-to-noise ratio in dB.
    """

    def __init__(self, device: str, fault: str, snr: float = 5.0) -> None:
        import pixvox

        self.model = pixvox.load("zoo:pixvox-tiny-delay", device=device)
        self.fault, self.snr = fault, snr

    def generate(self, image: Path, item: str) -> tuple["np.ndarray[Any, Any]", int]:
        """Returns speech `[T]` and its rate in Hz."""
        shown = _next(image) if self.fault == "images" else image
        speech = self.model.speak(shown, item=item)
        wave = speech.wave
        if self.fault == "noise":
            level = np.sqrt(np.mean(np.square(wave))) * 10 ** (-self.snr / 20)
            wave = wave + level * white(f"injected\0{item}", len(wave))
            wave = wave / max(1.0, float(np.abs(wave).max()))
        return wave, speech.rate


def _next(image: Path) -> Path:
    """Returns the next picture in the folder; after the last, the first."""
    there = sorted(image.parent.iterdir())
    return there[(there.index(image) + 1) % len(there)]
