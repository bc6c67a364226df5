"""The recorded captions of a training set, for systems that play one of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from bench.common.errors import UserError
from bench.common.progress import Progress
from bench.datasets.base import Caption, DatasetSpec, Item, digest_of


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded caption of a training image."""

    item: Item
    number: int

    @property
    def name(self) -> str:
        """`ID#N`, as rows of the ledger name it."""
        return f"{self.item.id}#{self.number}"

    @property
    def text(self) -> str:
        """What is said."""
        return self.item.captions[self.number].text

    @property
    def speech(self) -> Path:
        """The file in which it is said."""
        path = self.item.captions[self.number].speech
        assert path is not None
        return path


def silent(what: str, done: int, total: int) -> None:
    """Reports nothing, for what is there or takes no time."""


def training_items(data: DatasetSpec, report: Progress) -> tuple[Item, ...]:
    """The training images that have a recorded caption; raises UserError where there is none."""
    items = data.half("train", report)
    spoken = tuple(item for item in items if any(c.speech is not None for c in item.captions))
    if not spoken:
        raise UserError("data: no training image has a recorded caption; name the audio")
    return spoken


def recordings(items: Iterable[Item]) -> list[Recording]:
    """All recorded captions of images, in order."""
    return [
        Recording(item, number)
        for item in items
        for number, caption in enumerate(item.captions)
        if caption.speech is not None
    ]


def training_digest(items: Sequence[Item], with_text: bool) -> str:
    """A digest of training images and their recorded speech; of the captions' text if asked.

    Captions that are not recorded are no part of it, but their places are.
    """
    return digest_of(
        replace(item, captions=tuple(_content(c, with_text) for c in item.captions))
        for item in items
    )


def _content(caption: Caption, with_text: bool) -> Caption:
    text = caption.text if with_text and caption.speech is not None else ""
    return Caption(text, caption.speech)


@lru_cache(maxsize=4)
def speech_by_name(data: DatasetSpec) -> dict[str, Path]:
    """`ID#N` → the file of that recorded caption; read once a process."""
    return {one.name: one.speech for one in recordings(training_items(data, silent))}
