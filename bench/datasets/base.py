"""What every dataset gives: items with an image, captions, and the captions' speech."""

import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.common.errors import UserError


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


MAX_FILE_NAME = 200
"""Bytes of an item's name: file systems take 255, and suffixes come after it."""
MAX_CAPTION = 2_000
"""Characters; a longer one is a file that was read wrongly, and METEOR would not end over it."""
MAX_FILE_BYTES = 512 * 1024 * 1024


def unusable_name(name: str) -> str:
    """Why no item's files can be named like this; "" where they can."""
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return "holds a control character"
    if len(name.encode()) > MAX_FILE_NAME:
        return f"{len(name.encode())} bytes long; a name has at most {MAX_FILE_NAME}"
    return ""


def inside(root: Path, name: str) -> Path:
    """A file below a folder; raises ValueError for a name that no file can have, or leads out."""
    parts = name.split("/")
    if reason := next((reason for part in parts if (reason := unusable_name(part))), ""):
        raise ValueError(f"{name[:80]!r}: {reason}")
    path = root / name
    try:
        within = len(name) < 2_000 and path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{name[:80]!r} is no path that can be followed") from error
    if not within:
        raise ValueError(f"{name[:80]!r} leads out of its folder, {root.name}")
    return path


def check_caption(text: str, at: str) -> None:
    """Raises UserError, which says where, for a caption that no one wrote."""
    if len(text) > MAX_CAPTION:
        raise UserError(
            f"{at}: a caption of {len(text):,} characters; at most {MAX_CAPTION:,} are read"
        )
    if "\0" in text:
        raise UserError(f"{at}: a caption with a null character; convert the file")


def text_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file, ended by a line feed (or CR LF) and nothing else.

    `str.splitlines` also splits at U+2028, form feeds and the like, which captions contain.
    Raises UserError where the file is not there, no plain file, not UTF-8, or has old Mac line
    ends, which would make it one line.
    """
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: is not a plain file; point the dataset at its folder")
        if path.is_file() and path.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"{path}: larger than {MAX_FILE_BYTES:,} bytes")
        text = path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{path}: no such file; point the dataset at its folder") from error
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; convert the file") from error
    if text.count("\r") - text.count("\r\n") > text.count("\n"):
        raise UserError(f"{path}: lines end in CR alone; convert the line ends to LF")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def _file_digest(path: Path) -> bytes:
    try:
        if not path.is_file():
            return b"missing"
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}); fix or remove it") from error


def digest_of(items: Iterable[Item]) -> str:
    """SHA-256 over a split's content, 16 hex digits; a missing file is part of the content."""
    state = hashlib.sha256()
    for item in items:
        state.update(f"{item.id}\0".encode() + _file_digest(item.image))
        for caption in item.captions:
            state.update(caption.text.encode() + b"\0")
            state.update(_file_digest(caption.speech) if caption.speech else b"none")
    return state.hexdigest()[:16]
