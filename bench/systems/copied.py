"""The first words of a caption as text: a floor for copying part of a caption."""

from math import ceil
from typing import ClassVar, Literal

from bench.common.bounds import Label, SomeShare
from bench.datasets.base import Item
from bench.systems.base import Generator, Role, System
from bench.systems.text import caption_text


class CopiedSystem(System):
    """The first words of a caption, as text: a floor for copying part of a caption.

    If that caption is among the references (`references: all`), this scores high without the
    picture.
    """

    kind: Literal["copied"]
    label: Label = "part of a caption, as text"
    share: SomeShare = 0.5
    """The share of the caption's words that is copied, rounded up to whole words."""

    role: ClassVar[Role] = Role.FLOOR
    has_speech: ClassVar[bool] = False

    def generator(self, device: str) -> Generator:
        """Raises ValueError: a text is not speech."""
        raise ValueError(f"{self.label}: a text is not speech")

    def transcript(self, item: Item, caption: int) -> str:
        words = caption_text(item, caption).split()
        return " ".join(words[: ceil(self.share * len(words))])

    def uses_caption(self) -> bool:
        return True
