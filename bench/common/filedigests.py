"""SHA-256 of many files; the digests of large folders are cached, so that files are read once.

A file counts as unchanged if its path, size and time of change (ns) are the same. The
cache is one file a folder below `$XDG_CACHE_HOME/pixvox`, and can be removed at any time.
"""

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from bench.common.cachefiles import cache_folder, read_checked, write_checked
from bench.common.errors import UserError

LARGE = 32 * 1024 * 1024
"""Bytes. The digests of folders with less are not cached, because reading them is fast."""
_TICK_NS = 2_000_000_000
"""The digest of a file that changed less than this ago is not cached.

File systems store times coarsely, so such a file may change again and keep its time.
"""
MISSING = b"missing"

_Known: TypeAlias = dict[str, tuple[int, int, str]]
"""A file's name → its size, its time of change and its digest."""


def file_digests(paths: Iterable[Path], large: int = LARGE) -> dict[Path, bytes]:
    """Returns the digest of every file's bytes, MISSING where there is no plain file.

    Raises UserError naming a file that cannot be read.
    """
    folders: dict[Path, list[Path]] = {}
    for path in dict.fromkeys(paths):
        folders.setdefault(path.parent, []).append(path)
    digests: dict[Path, bytes] = {}
    for folder, files in folders.items():
        digests |= _digests_in(folder, files, large)
    return digests


def _digests_in(folder: Path, files: list[Path], large: int) -> dict[Path, bytes]:
    try:
        stats = {path: path.stat() for path in files if path.is_file()}
    except OSError as error:
        raise _unreadable(Path(error.filename or folder), error) from error
    is_cached = sum(stat.st_size for stat in stats.values()) >= large
    home = _cache_file(folder)
    known = _read(home) if is_cached else {}
    fresh: _Known = {}
    digests = dict.fromkeys(files, MISSING)
    for path, stat in stats.items():
        size, changed, text = known.get(path.name, (-1, -1, ""))
        if (size, changed) != (stat.st_size, stat.st_mtime_ns):
            begun = time.time_ns()
            text = _digest(path)
            if begun - stat.st_mtime_ns > _TICK_NS:
                fresh[path.name] = (stat.st_size, stat.st_mtime_ns, text)
        digests[path] = bytes.fromhex(text)
    if is_cached and fresh:
        write_checked(home, known | fresh)
    return digests


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path}: not readable ({error.strerror}); fix or remove it")


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _cache_file(folder: Path) -> Path:
    name = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]
    return cache_folder() / f"digests-{name}.json"


def _read(path: Path) -> _Known:
    content = read_checked(path) or {}
    return {name: (size, changed, text) for name, (size, changed, text) in content.items()}
