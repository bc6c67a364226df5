"""Messages to actors of a cluster together with the files that the messages refer to.

Only the driver has the dataset's files. A parcel holds their bytes. The actor writes them below a
folder of its own under their absolute paths, and every path in the message is changed to one below
that folder. The files are removed when the batch is done.
"""

import io
import os
import pickle
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.common.audio import SpeechError
from bench.common.errors import UserError
from bench.datasets.storedunits import UnitsEntry, read_units_file, units_bytes
from bench.store.rows import ToTranscribe
from bench.systems.base import Asked, needed_files
from pixvox.weights import placed

Needed = Path | UnitsEntry
"""A file, or a caption's units in a file of many."""


@dataclass(frozen=True)
class Parcel:
    """A pickled message, and the content of files by their absolute paths on the driver's machine.

    The content is None for a file that the driver cannot read; the actor creates its folder.
    """

    message: bytes
    files: dict[str, bytes | None]


def pack(message: object, needed: Iterable[Needed] = ()) -> Parcel:
    """Returns the message and the content of the files that it needs."""
    buffer = io.BytesIO()
    _Packer(buffer, pickle.HIGHEST_PROTOCOL).dump(message)
    files: dict[str, bytes | None] = {}
    entries: dict[Path, list[str]] = {}
    for source in needed:
        if isinstance(source, UnitsEntry):
            entries.setdefault(source.file, []).append(source.name)
            continue
        path = str(source.absolute())
        if path not in files:
            try:
                files[path] = source.read_bytes() if source.is_file() else None
            except OSError:
                files[path] = None
    for file, names in entries.items():
        files[str(file.absolute())] = _units(file, names)
    return Parcel(buffer.getvalue(), files)


def _units(file: Path, names: Iterable[str]) -> bytes | None:
    """Returns the bytes of a units file with these captions only; None if `file` is unreadable."""
    try:
        stored = read_units_file(file)
    except SpeechError:
        return None
    return units_bytes(stored.codec, {n: stored.units[n] for n in names if n in stored.units})


def needed_to_generate(asked: Asked) -> Iterator[Needed]:
    """Yields the files that a generator reads for items."""
    for item, variants in asked:
        for variant in variants:
            try:
                yield from needed_files(variant.system, item, variant.caption)
            except UserError:
                # The actor reports the error as the reason of its item.
                continue


def needed_to_transcribe(batch: Iterable[ToTranscribe]) -> Iterator[Needed]:
    """Yields the files that hold the speech of rows."""
    yield from (entry.file for entry in batch if entry.file is not None)


_original: dict[str, str] = {}
"""Paths of the current message on this node → the same paths as the job names them."""
_root = ""


class _Packer(pickle.Pickler):
    """Pickles paths so that the actor unpickles them as paths below its own folder."""

    def reducer_override(self, given: object) -> Any:
        if isinstance(given, Path):
            return _path_here, (str(given.absolute()), str(given))
        return NotImplemented


def _path_here(path: str, original: str) -> Path:
    if (there := placed(path)) is not None:
        return there
    here = _root + path
    _original[here] = original
    return Path(here)


@contextmanager
def unpack(parcel: Parcel, folder: Path) -> Iterator[Any]:
    """Writes a parcel's files below `folder`, gives its message, and removes the files."""
    global _root
    _root = str(folder)
    try:
        for path, content in parcel.files.items():
            here = Path(_root + path)
            here.parent.mkdir(parents=True, exist_ok=True)
            if content is not None:
                here.write_bytes(content)
                # Readers cache files by path, size and time, and the clock of a file system may be
                # too coarse to tell this file from that of the batch before.
                now = time.time_ns()
                os.utime(here, ns=(now, now))
        yield pickle.loads(parcel.message)
    finally:
        _original.clear()
        shutil.rmtree(folder, ignore_errors=True)


def as_on_driver(text: str) -> str:
    """Returns a failure's reason with this node's paths replaced by those of the driver."""
    if not _root or _root not in text:
        return text
    for here in sorted(_original, key=len, reverse=True):
        text = text.replace(here, _original[here])
    return text.replace(_root + os.sep, os.sep)
