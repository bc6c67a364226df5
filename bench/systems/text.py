"""One of the dataset's captions as text: what people reach, with nothing spoken."""

from typing import ClassVar, Literal

from bench.common.audio import SpeechError
from bench.common.bounds import Caption, Label
from bench.datasets.base import Item
from bench.systems.base import Generator, Role, System


class TextSystem(System):
    """One of the dataset's captions, scored against the others: what people reach in text."""

    kind: Literal["text"]
    label: Label = "reference text"
    caption: Caption = 0
    """Which caption it is, counted from 0; it is scored against the others."""

    role: ClassVar[Role] = Role.CEILING
    has_speech: ClassVar[bool] = False
    loss: ClassVar[Literal["", "references", "ASR", "codec"]] = "references"

    def generator(self, device: str) -> Generator:
        """Raises ValueError: a text is not speech."""
        raise ValueError(f"{self.label}: a text is not speech")

    def transcript(self, item: Item) -> str:
        """See System."""
        if self.caption >= len(item.captions):
            raise SpeechError(f"{item.id}: has no caption {self.caption}")
        return item.captions[self.caption].text
