"""Writes files atomically, and turns errors of disks into one line."""

import errno
import fcntl
import hashlib
import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bench.common.errors import RunFailed, UserError
from pixvox.cache import cache_folder

if TYPE_CHECKING:
    import polars as pl

_REFUSED = {
    errno.ENOSPC: "disk full; make room",
    errno.EDQUOT: "disk quota used up; make room",
    errno.EFBIG: "larger than a file may be here; make room, or raise the limit",
    errno.EROFS: "read-only file system; make it writable",
    errno.EACCES: "no permission; make it readable and writable, or choose another folder",
    errno.EPERM: "no permission; make it readable and writable, or choose another folder",
    errno.EIO: "the disk failed to read or write; check it",
}
_PARTIAL = re.compile(r"(\.[0-9a-f]{16}|whisper-.+)\.\d+\.part")
"""The names of `partial_of`, and those that an earlier version left in the cache."""


def partial_of(path: Path) -> Path:
    """Returns the path that a file is written to before it is renamed to its own.

    The name has a fixed length, so that it is valid where the file's own name is.
    """
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    return path.with_name(f".{digest}.{os.getpid()}.part")


def write_bytes(path: Path, data: bytes | memoryview, durable: bool = False) -> None:
    """Replaces a file's content atomically; with `durable`, it survives a loss of power.

    A link at `path` is replaced and its target is not changed. Raises OSError naming `path` or its
    folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(path)
    with naming(path.parent):
        descriptor = _locked(partial)
    # The lock tells `sweep_partials` of other processes that this file is in use.
    with open(descriptor, "wb") as stream:  # noqa: PTH123
        try:
            with naming(path.parent):
                stream.write(data)
                stream.flush()
                if durable:
                    os.fsync(stream.fileno())
            with naming(path):
                partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            # Closing writes buffered data again, which fails again on a full disk.
            with suppress(OSError):
                stream.close()
            raise
    if durable:
        _sync(path.parent)


def _locked(partial: Path) -> int:
    """Creates a file, locks it, and returns its descriptor."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    while True:
        descriptor = os.open(partial, flags, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # A sweep has locked it, and is about to remove it.
            os.close(descriptor)
            continue
        except OSError:
            # The file system has no locks, so no sweep removes files there.
            return descriptor
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Makes an OSError name this path, where it names no file or the partial file."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename).endswith(".part"):
            error.filename, error.filename2 = str(path), None
        raise


def sweep_partials(folder: Path) -> None:
    """Removes the partial files below a folder that no process has locked.

    Their writers were killed.
    """
    for path in folder.rglob("*.part"):
        if _PARTIAL.fullmatch(path.name) is None:
            continue
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(descriptor)


def write_text(path: Path, text: str, durable: bool = False) -> None:
    """Writes a text in UTF-8, as `write_bytes`."""
    write_bytes(path, text.encode(), durable)


def parquet(frame: "pl.DataFrame", metadata: Mapping[str, str] | None = None) -> bytes:
    """Returns a frame as the bytes of a Parquet file."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, metadata=dict(metadata) if metadata else None)
    return buffer.getvalue()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Turns an OSError about a file into an error of one line.

    Raises RunFailed for a full or failing disk, and UserError for a path that cannot be used.
    """
    try:
        yield
    except OSError as error:
        if why := refusal(error, place):
            raise RunFailed(why) from error
        if error.filename is None:
            # It is an error of a connection or a process, not of a file.
            raise
        name, advice = Path(str(error.filename)), "move it away, or make it usable"
        if error.errno == errno.ENOENT:
            advice = "it may have been removed meanwhile; run the same command again"
        if error.errno == errno.ENOTDIR:
            # Name the plain file that is in the place of a folder above the wanted file.
            name = next((parent for parent in reversed(name.parents) if parent.is_file()), name)
        raise UserError(f"{name}: {error.strerror}; {advice}") from error


def refusal(error: OSError, place: Path | None = None) -> str:
    """Returns a message with advice for errors of a full or failing disk; "" for other errors.

    It names `place` where the error names no file.
    """
    if error.errno not in _REFUSED:
        return ""
    name = error.filename or place or "a disk"
    advice = _REFUSED[error.errno]
    if Path(str(name)).is_relative_to(cache_folder()):
        advice += ", or set XDG_CACHE_HOME to another folder"
    return f"{name}: {advice}, then run the same command again"
