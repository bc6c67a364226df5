"""SHA-256 of many files; those of large folders are kept, so that they are read once.

A file is the same one where its path, size and time of change (in ns) are. What is kept is a file
a folder below `$XDG_CACHE_HOME/pixvox`, and can be removed at any time.
"""

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from bench.common.errors import UserError
from bench.common.kept import cache_folder, read_kept, write_kept

LARGE = 32 * 1024 * 1024
"""Bytes of a folder's files from which on their digests are kept: less is read in no time."""
_TICK_NS = 2_000_000_000
"""A file changed so lately may change again under the same time, as clocks of file systems tick."""
MISSING = b"missing"

_Known: TypeAlias = dict[str, tuple[int, int, str]]
"""A file's name → its size, its time of change and its digest."""


def file_digests(paths: Iterable[Path], large: int = LARGE) -> dict[Path, bytes]:
    """The digest of every file's bytes, MISSING where there is no plain file.

    Raises UserError naming a file that cannot be read.
    """
    folders: dict[Path, list[Path]] = {}
    for path in dict.fromkeys(paths):
        folders.setdefault(path.parent, []).append(path)
    found: dict[Path, bytes] = {}
    for folder, files in folders.items():
        found |= _of_folder(folder, files, large)
    return found


def _of_folder(folder: Path, files: list[Path], large: int) -> dict[Path, bytes]:
    try:
        stats = {path: path.stat() for path in files if path.is_file()}
    except OSError as error:
        raise _unreadable(Path(error.filename or folder), error) from error
    kept = sum(stat.st_size for stat in stats.values()) >= large
    home = _kept_at(folder)
    known = _read(home) if kept else {}
    fresh: _Known = {}
    found = dict.fromkeys(files, MISSING)
    for path, stat in stats.items():
        size, changed, text = known.get(path.name, (-1, -1, ""))
        if (size, changed) != (stat.st_size, stat.st_mtime_ns):
            begun = time.time_ns()
            text = _digest(path)
            if begun - stat.st_mtime_ns > _TICK_NS:
                fresh[path.name] = (stat.st_size, stat.st_mtime_ns, text)
        found[path] = bytes.fromhex(text)
    if kept and fresh:
        write_kept(home, known | fresh)
    return found


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path}: not readable ({error.strerror}); fix or remove it")


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _kept_at(folder: Path) -> Path:
    name = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]
    return cache_folder() / f"digests-{name}.json"


def _read(path: Path) -> _Known:
    held = read_kept(path) or {}
    return {name: (size, changed, text) for name, (size, changed, text) in held.items()}
