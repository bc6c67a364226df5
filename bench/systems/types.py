"""What every speaker is asked and gives."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.audio import SpeechError
from bench.datasets.types import Item
from bench.rows import Spoken
from bench.systems.specs import DecodingSpec


@dataclass(frozen=True)
class Variant:
    """One way in which a system is to speak an item; `key` is the speech's in the ledger."""

    key: str
    prompt: float
    decoding: DecodingSpec


Asked = Sequence[tuple[Item, tuple[Variant, ...]]]
"""Items, each with the ways it is to be spoken in."""

Made = list[tuple[str, Spoken]]
"""Rows with their variant's key, in the order asked."""


class Speaker(Protocol):
    """Speaks items; one row for every item and variant asked, in order."""

    def speak(self, asked: Asked) -> Made: ...


class EachItem(ABC):
    """A speaker that takes items one at a time; what one raises is its row's reason."""

    caption = -1

    @abstractmethod
    def one(self, item: Item, variant: Variant) -> Spoken:
        """One row; raises SpeechError where there is no speech to be had."""

    def speak(self, asked: Asked) -> Made:
        """See Speaker."""
        return [(v.key, self._row(item, v)) for item, variants in asked for v in variants]

    def _row(self, item: Item, variant: Variant) -> Spoken:
        try:
            return self.one(item, variant)
        except SpeechError as error:
            return Spoken(item.id, "failed", str(error), caption=self.caption)


def speech_file(item: Item, number: int) -> Path:
    """The file in which a caption is said; raises SpeechError where there is none."""
    if number >= len(item.captions):
        raise SpeechError(f"{item.id}: has no caption {number}")
    path = item.captions[number].speech
    if path is None:
        raise SpeechError(f"{item.id}: caption {number} has no recorded speech")
    if not path.is_file():
        raise SpeechError(f"{path.name}: no such file")
    return path
