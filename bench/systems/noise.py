"""White noise: a floor for words that an ASR invents from noise."""

import hashlib
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from bench.common.audio import Wave
from bench.common.bounds import Label, Seed, SpeechSeconds
from bench.datasets.base import Item
from bench.store.rows import SpeechRow, ToTranscribe
from bench.systems.base import RATE, Generator, Role, System
from bench.systems.silence import EmptyGenerator


class NoiseSystem(System):
    """White noise, which depends on the seed and the item."""

    kind: Literal["noise"]
    label: Label = "noise"
    seconds: SpeechSeconds = 3.0
    """The length of the noise in seconds."""
    level: Annotated[
        float, Field(ge=-120, le=0, description="dB full scale; below, it is inaudible")
    ] = -30.0
    """Its root mean square in dB full scale."""
    seed: Seed = 0
    """The seed of the noise, which differs from item to item."""

    role: ClassVar[Role] = Role.FLOOR

    def generator(self, device: str) -> Generator:
        return EmptyGenerator()

    def sound_file(self, row: SpeechRow, item: Item) -> None:
        return None

    def sound(self, entry: ToTranscribe) -> tuple[Wave, int]:
        noise = white(f"{self.seed}\0{entry.row.item}", round(self.seconds * RATE))
        return (noise * 10 ** (self.level / 20)).astype(np.float32), RATE


def white(name: str, length: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Returns white noise `[length]` of mean square 1 by Philox, keyed by the name."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    return np.random.Generator(np.random.Philox(key=key)).standard_normal(length)
