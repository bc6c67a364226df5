"""Speech with nothing in it: the scores that an ASR's inventions alone reach."""

import hashlib

import numpy as np

from bench.audio import Wave
from bench.datasets.types import Item
from bench.rows import Spoken
from bench.systems.specs import NoiseSpec, SilenceSpec
from bench.systems.types import EachItem, Variant


class FloorSpeaker(EachItem):
    """Has nothing to say: the listener makes the sound."""

    def one(self, item: Item, variant: Variant) -> Spoken:
        """A row without speech."""
        return Spoken(item.id, "ok")


def sound(spec: SilenceSpec | NoiseSpec, item: str, rate: int) -> Wave:
    """Silence, or the item's own white noise (Philox, keyed by seed and item), `[T]` at `rate`."""
    length = round(spec.seconds * rate)
    if isinstance(spec, SilenceSpec):
        return np.zeros(length, dtype=np.float32)
    key = int.from_bytes(hashlib.sha256(f"{spec.seed}\0{item}".encode()).digest()[:16], "little")
    noise = np.random.Generator(np.random.Philox(key=key)).standard_normal(length)
    return (noise * 10 ** (spec.level / 20)).astype(np.float32)
