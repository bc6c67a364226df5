"""The dataset's own speech, unchanged."""

from typing import ClassVar, Literal

from bench.common.bounds import Label
from bench.datasets.base import Item
from bench.store.rows import SpeechRow
from bench.systems.base import (
    EachItem,
    Generator,
    Loss,
    Role,
    System,
    Variant,
    caption_of,
    speech_file,
)


class RecordedSystem(System):
    """The recorded speech of one caption: the ASR's score on perfect speech."""

    kind: Literal["recorded"]
    label: Label = "recorded speech"

    role: ClassVar[Role] = Role.CEILING
    says_caption: ClassVar[bool] = True
    loss: ClassVar[Loss] = "ASR"

    def generator(self, device: str) -> Generator:
        return RecordedGenerator()

    def uses_caption(self) -> bool:
        return True


class RecordedGenerator(EachItem):
    """Returns rows that name the recorded speech of one caption."""

    def generate_item(self, item: Item, variant: Variant) -> SpeechRow:
        """Returns a row that says which caption to transcribe."""
        number = caption_of(item, variant)
        speech_file(item, number)
        return SpeechRow(item=item.id, status="ok", caption=number)
