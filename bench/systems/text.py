"""A caption as text: people's score, without speech."""

from typing import ClassVar, Literal

from bench.common.audio import SpeechError
from bench.common.bounds import Label
from bench.datasets.base import Item
from bench.systems.base import Generator, Loss, Role, System


class TextSystem(System):
    """A caption as text: people's score, without speech or transcription."""

    kind: Literal["text"]
    label: Label = "reference text"

    role: ClassVar[Role] = Role.CEILING
    has_speech: ClassVar[bool] = False
    loss: ClassVar[Loss] = "text"

    def generator(self, device: str) -> Generator:
        """Raises ValueError: a text is not speech."""
        raise ValueError(f"{self.label}: a text is not speech")

    def transcript(self, item: Item, caption: int) -> str:
        return caption_text(item, caption)

    def uses_caption(self) -> bool:
        return True


def caption_text(item: Item, number: int) -> str:
    """Returns a caption's words; raises SpeechError if there is no caption of that number."""
    if number >= len(item.captions):
        raise SpeechError(f"{item.id}: has no caption {number}")
    return item.captions[number].text
