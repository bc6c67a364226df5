"""The dataset's own speech, as it is."""

from typing import ClassVar, Literal

from bench.common.bounds import Caption, Label
from bench.datasets.base import Item
from bench.store.rows import SpeechRow
from bench.systems.base import EachItem, Generator, Role, System, Variant, speech_file


class RecordedSystem(System):
    """The dataset's own speech of one caption: what the ASR makes of a perfect system."""

    kind: Literal["recorded"]
    label: Label = "recorded speech"
    caption: Caption = 0
    """Which caption's recorded speech is taken, counted from 0."""

    role: ClassVar[Role] = Role.CEILING
    says_caption: ClassVar[bool] = True
    loss: ClassVar[Literal["", "references", "ASR", "codec"]] = "ASR"

    def generator(self, device: str) -> Generator:
        """See System."""
        return RecordedGenerator(self.caption, self.caption)

    def recordings(self) -> int | None:
        """See System."""
        return self.caption


class RecordedGenerator(EachItem):
    """Points at the dataset's speech of one caption; rows say that they are of `shown`."""

    def __init__(self, number: int, shown: int) -> None:
        self.number = number
        self.caption = shown

    def one(self, item: Item, variant: Variant) -> SpeechRow:
        """A row that says which caption to transcribe."""
        speech_file(item, self.number)
        return SpeechRow(item.id, "ok", caption=self.caption)
