"""Messages to actors of a cluster, which bring along the files that they are about.

The driver alone reads a dataset. What it sends holds the bytes of the files; where it is worked on
they lie, under their own names, below a folder of the actor's own, and every path in the message is
one below that folder. Both are gone when the batch is done.
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
    """A pickled message, and the content of files by their whole paths on the driver's machine.

    None stands for a file that is not there, whose folder may be.
    """

    message: bytes
    files: dict[str, bytes | None]


def pack(message: object, needed: Iterable[Needed] = ()) -> Parcel:
    """The message with the files it needs; those that cannot be read are not there for the actor.

    The driver says of such a file that it has it, where it does (see bench.execution.pipeline).
    """
    buffer = io.BytesIO()
    _Packer(buffer, pickle.HIGHEST_PROTOCOL).dump(message)
    files: dict[str, bytes | None] = {}
    entries: dict[Path, list[str]] = {}
    for one in needed:
        if isinstance(one, UnitsEntry):
            entries.setdefault(one.file, []).append(one.name)
            continue
        path = str(one.absolute())
        if path not in files:
            try:
                files[path] = one.read_bytes() if one.is_file() else None
            except OSError:
                files[path] = None
    for file, names in entries.items():
        files[str(file.absolute())] = _units(file, names)
    return Parcel(buffer.getvalue(), files)


def _units(file: Path, names: Iterable[str]) -> bytes | None:
    """A file of these captions' units alone; None where the driver cannot read it."""
    try:
        held = read_units_file(file)
    except SpeechError:
        return None
    return units_bytes(held.codec, {n: held.units[n] for n in names if n in held.units})


def needed_to_generate(asked: Asked) -> Iterator[Needed]:
    """What a generator reads of items."""
    for item, variants in asked:
        for variant in variants:
            try:
                yield from needed_files(variant.system, item, variant.caption)
            except UserError:
                # The actor says it of its item.
                continue


def needed_to_transcribe(batch: Iterable[ToTranscribe]) -> Iterator[Needed]:
    """The files in which the speech of rows is."""
    yield from (entry.file for entry in batch if entry.file is not None)


_original: dict[str, str] = {}
"""Of the message that is being worked on: paths here → as the driver's job has them."""
_root = ""


class _Packer(pickle.Pickler):
    """Pickles paths so that they are unpickled as paths of where they are."""

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
def unpacked(parcel: Parcel, folder: Path) -> Iterator[Any]:
    """The message, whose files are below a folder of this process meanwhile."""
    global _root
    _root = str(folder)
    try:
        for path, content in parcel.files.items():
            here = Path(_root + path)
            here.parent.mkdir(parents=True, exist_ok=True)
            if content is not None:
                here.write_bytes(content)
                # Readers keep files by path, size and time, and file systems' clocks tick slowly.
                now = time.time_ns()
                os.utime(here, ns=(now, now))
        yield pickle.loads(parcel.message)
    finally:
        _original.clear()
        shutil.rmtree(folder, ignore_errors=True)


def as_on_driver(text: str) -> str:
    """A reason in which paths of this process are those of the driver's job."""
    if not _root or _root not in text:
        return text
    for here in sorted(_original, key=len, reverse=True):
        text = text.replace(here, _original[here])
    return text.replace(_root + os.sep, os.sep)
