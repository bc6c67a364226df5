"""Recorded speech in white noise: correct words, spoken less and less clearly.

The waterfall measures with it what a system loses by unclear speech (see bench.tables.waterfall).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from bench.common.audio import Wave
from bench.common.bounds import Decibels, Label, Seed
from bench.store.rows import ToTranscribe
from bench.systems.axes import SNR, Axis
from bench.systems.base import Generator, Loss, Role, System
from bench.systems.noise import white
from bench.systems.recorded import RecordedGenerator


class NoisySystem(System):
    """The recorded speech of one caption in white noise.

    It is not shown in tables; the waterfall uses it to measure the cost of unclear speech.
    """

    kind: Literal["noisy"]
    label: Label = "speech in noise"
    snr: Annotated[tuple[Decibels, ...], Field(min_length=1)] = (30.0, 20.0, 15.0, 10.0, 5.0, 0.0)
    """Signal-to-noise ratios in dB; a cell for each."""
    seed: Seed = 0
    """The seed of the noise, which differs from item to item."""

    role: ClassVar[Role] = Role.CEILING
    says_caption: ClassVar[bool] = True
    loss: ClassVar[Loss] = "clarity"

    def generator(self, device: str) -> Generator:
        return RecordedGenerator()

    @classmethod
    def axes(cls) -> tuple[Axis, ...]:
        return (SNR,)

    def values(self) -> Mapping[str, tuple[Any, ...]]:
        return {"snr": self.snr}

    def at(self, point: Mapping[str, Any]) -> Self:
        return self.model_copy(update={"snr": (point.get("snr", self.snr[0]),)})

    def shared(self) -> System:
        """Returns the system at 0 dB: the noise is added where the speech is transcribed."""
        return self.model_copy(update={"label": "", "snr": (0.0,)})

    def described(self) -> list[str]:
        return [f"{self.snr[0]:g} dB"]

    def uses_caption(self) -> bool:
        return True

    def sound(self, entry: ToTranscribe) -> tuple[Wave, int]:
        """Adds noise to the recording; `snr` is the ratio of mean squares over the whole speech."""
        wave, rate = super().sound(entry)
        noise = white(f"{self.seed}\0{entry.row.item}", len(wave))
        level = np.sqrt(np.mean(np.square(wave, dtype=np.float64))) * 10 ** (-self.snr[0] / 20)
        noisy = wave + level * noise
        return (noisy / max(1.0, float(np.abs(noisy).max()))).astype(np.float32), rate
