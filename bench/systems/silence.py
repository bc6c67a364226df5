"""Speech with nothing in it: the scores that an ASR's inventions alone reach."""

from typing import ClassVar, Literal

import numpy as np

from bench.common.audio import Wave
from bench.common.bounds import Label, SpeechSeconds
from bench.datasets.base import Item
from bench.store.rows import SpeechRow, ToTranscribe
from bench.systems.base import RATE, EachItem, Generator, Role, System, Variant


class SilenceSystem(System):
    """Zeros: what an ASR makes of nothing."""

    kind: Literal["silence"]
    label: Label = "silence"
    seconds: SpeechSeconds = 3.0
    """How long the speech is, in seconds."""

    role: ClassVar[Role] = Role.FLOOR

    def generator(self, device: str) -> Generator:
        return EmptyGenerator()

    def sound_file(self, row: SpeechRow, item: Item) -> None:
        return None

    def sound(self, entry: ToTranscribe) -> tuple[Wave, int]:
        return np.zeros(round(self.seconds * RATE), dtype=np.float32), RATE


class EmptyGenerator(EachItem):
    """Rows without speech: it is made where it is transcribed."""

    def generate_item(self, item: Item, variant: Variant) -> SpeechRow:
        """Returns a row without speech."""
        return SpeechRow(item.id, "ok")
