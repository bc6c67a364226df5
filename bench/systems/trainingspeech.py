"""The recorded captions of a training set, for systems that play one of them.

A caption is recorded if it has sound. For a system that plays speech through a codec, a caption
with stored units of that codec is recorded too, and those units are played.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from bench.common.audio import SpeechError
from bench.common.errors import UserError
from bench.common.progress import Progress
from bench.datasets.base import Caption, DatasetSpec, Item, digest_of
from bench.datasets.storedunits import has_units
from pixvox.codec.facts import CodecFacts


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
        return self.caption.text

    @property
    def caption(self) -> Caption:
        """The caption, with its sound or its units."""
        return self.item.captions[self.number]


def silent(what: str, done: int, total: int) -> None:
    """Ignores progress, for work that takes no time."""


def training_items(
    data: DatasetSpec, codec: CodecFacts | None, report: Progress
) -> tuple[Item, ...]:
    """Returns the training images with a recorded caption; raises UserError if there is none."""
    items = data.half("train", report)
    spoken = tuple(item for item in items if any(_is_recorded(c, codec) for c in item.captions))
    if not spoken:
        raise UserError(_none_recorded(items, codec))
    return spoken


def _none_recorded(items: Iterable[Item], codec: CodecFacts | None) -> str:
    if not any(caption.units is not None for item in items for caption in item.captions):
        return "data: no training image has a recorded caption; name the audio"
    if codec is None:
        return (
            "data: its captions have units and no sound; name the units' codec and bandwidth, or "
            "narrate them with their sound"
        )
    return (
        f"data: its captions have no sound, and no units by the codec {codec.digest} with "
        f"{codec.codebooks} codebooks; name the codec and bandwidth of their units"
    )


def recordings(items: Iterable[Item], codec: CodecFacts | None) -> list[Recording]:
    """Returns all recorded captions of images, in order."""
    return [
        Recording(item, number)
        for item in items
        for number, caption in enumerate(item.captions)
        if _is_recorded(caption, codec)
    ]


def _is_recorded(caption: Caption, codec: CodecFacts | None) -> bool:
    return caption.speech is not None or _has_units(caption, codec)


def _has_units(caption: Caption, codec: CodecFacts | None) -> bool:
    if codec is None or caption.units is None:
        return False
    try:
        return has_units(caption.units, codec)
    except SpeechError as error:
        raise UserError(f"{caption.units.file}: {error}") from error


def training_digest(items: Sequence[Item], codec: CodecFacts | None, with_text: bool) -> str:
    """Returns a digest of the training images and of the speech played; of captions' texts on
    request.

    The speech played is a caption's units by the codec if it has them, else its sound. Captions
    without a recording are left out, but their places count.
    """

    def content(caption: Caption) -> Caption:
        text = caption.text if with_text and _is_recorded(caption, codec) else ""
        if _has_units(caption, codec):
            return Caption(text, units=caption.units)
        return Caption(text, caption.speech)

    return digest_of(
        replace(item, captions=tuple(content(c) for c in item.captions)) for item in items
    )


@lru_cache(maxsize=4)
def speech_by_name(data: DatasetSpec) -> dict[str, Path]:
    """Returns `ID#N` → the file of that recorded caption; the data is read once in a process."""
    return {
        recording.name: recording.caption.speech
        for recording in recordings(training_items(data, None, silent), None)
        if recording.caption.speech is not None
    }
