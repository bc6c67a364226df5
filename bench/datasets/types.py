"""What every dataset gives: items with an image, captions, and the captions' speech."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError


@dataclass(frozen=True, slots=True)
class Caption:
    """One caption and, where the dataset has it, the file in which a person or voice says it."""

    text: str
    speech: Path | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a split with all its captions."""

    id: str
    image: Path
    captions: tuple[Caption, ...]


@dataclass(frozen=True)
class Dataset:
    """A split. `digest` covers ids, captions and the bytes of images and speech.

    `unusable` are entries of the split that no score can be given to, each with the reason; they
    are reported with every run, and never dropped in silence.
    """

    name: str
    split: str
    speech_kind: str
    items: tuple[Item, ...]
    digest: str
    unusable: tuple[tuple[str, str], ...] = ()

    @property
    def references(self) -> dict[str, tuple[str, ...]]:
        """Item id → its captions, of the whole split."""
        return {item.id: tuple(c.text for c in item.captions) for item in self.items}


def inside(root: Path, name: str) -> Path:
    """A file below a folder; raises ValueError for a name that leads out of it."""
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{name!r} leads out of its folder, {root.name}")
    return path


def text_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file, ended by a line feed and nothing else.

    `str.splitlines` also splits at U+2028, form feeds and the like, which captions contain.
    Raises UserError where the file is not there or not UTF-8.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UserError(f"{path}: no such file; point the dataset at its folder") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; convert the file") from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


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
