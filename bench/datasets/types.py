"""What every dataset gives: items with an image, captions, and the captions' speech."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Caption:
    """One caption and, where the dataset has it, the file in which a person or voice says it."""

    text: str
    speech: Path | None = None


@dataclass(frozen=True)
class Item:
    """One image of a split with all its captions."""

    id: str
    image: Path
    captions: tuple[Caption, ...]


@dataclass(frozen=True)
class Dataset:
    """A split. `digest` covers ids, captions and the bytes of images and speech."""

    name: str
    split: str
    speech_kind: str
    items: tuple[Item, ...]
    digest: str

    @property
    def references(self) -> dict[str, tuple[str, ...]]:
        """Item id → its captions, of the whole split."""
        return {item.id: tuple(c.text for c in item.captions) for item in self.items}


def _file_digest(path: Path) -> bytes:
    if not path.is_file():
        return b"missing"
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def digest_of(items: Iterable[Item]) -> str:
    """SHA-256 over a split's content, 16 hex digits; a missing file is part of the content."""
    state = hashlib.sha256()
    for item in items:
        state.update(f"{item.id}\0".encode() + _file_digest(item.image))
        for caption in item.captions:
            state.update(caption.text.encode() + b"\0")
            state.update(_file_digest(caption.speech) if caption.speech else b"none")
    return state.hexdigest()[:16]
