"""Silence: a floor for words that an ASR invents."""

from typing import ClassVar, Literal

import numpy as np

from bench.common.audio import Wave
from bench.common.bounds import Label, SpeechSeconds
from bench.datasets.base import Item
from bench.store.rows import SpeechRow, ToTranscribe
from bench.systems.base import RATE, EachItem, Generator, Role, System, Variant


class SilenceSystem(System):
    """Speech of zeros: a floor for words that an ASR invents."""

    kind: Literal["silence"]
    label: Label = "silence"
    seconds: SpeechSeconds = 3.0
    """The length of the silence in seconds."""

    role: ClassVar[Role] = Role.FLOOR

    def generator(self, device: str) -> Generator:
        return EmptyGenerator()

    def sound_file(self, row: SpeechRow, item: Item) -> None:
        return None

    def sound(self, entry: ToTranscribe) -> tuple[Wave, int]:
        return np.zeros(round(self.seconds * RATE), dtype=np.float32), RATE


class EmptyGenerator(EachItem):
    """Rows without speech, which is computed where it is transcribed."""

    def generate_item(self, item: Item, variant: Variant) -> SpeechRow:
        """Returns a row without speech."""
        return SpeechRow(item=item.id, status="ok")
