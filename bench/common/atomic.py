"""Files that are whole or not there, whatever ends the write; what disks refuse, in one line."""

import errno
import fcntl
import hashlib
import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl

from bench.common.errors import RunFailed, UserError
from pixvox.cache import cache_folder

_REFUSED = {
    errno.ENOSPC: "disk full; make room",
    errno.EDQUOT: "disk quota used up; make room",
    errno.EFBIG: "larger than a file may be here; make room, or raise the limit",
    errno.EROFS: "read-only file system; make it writable",
    errno.EACCES: "no permission; make it readable and writable, or choose another folder",
    errno.EPERM: "no permission; make it readable and writable, or choose another folder",
    errno.EIO: "the disk failed to read or write; look at it",
}
_PARTIAL = re.compile(r"(\.[0-9a-f]{16}|whisper-.+)\.\d+\.part")
"""Files of `partial_of`, and those that an earlier version left in the cache."""


def partial_of(path: Path) -> Path:
    """Where a file is written until it is whole, under a name as short as any."""
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    return path.with_name(f".{digest}.{os.getpid()}.part")


def write_bytes(path: Path, data: bytes | memoryview, durable: bool = False) -> None:
    """Gives a file this content in one step; `durable` also over a loss of power.

    A link at `path` is replaced, and what it leads to stays as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(path)
    with naming(path.parent):
        descriptor = _locked(partial)
    # The lock is kept until the file has its name: see `sweep_partials`.
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
            # What the disk has no room for would be written once more when the file is closed.
            with suppress(OSError):
                stream.close()
            raise
    if durable:
        _sync(path.parent)


def _locked(partial: Path) -> int:
    """A new file, locked by this process."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    while True:
        descriptor = os.open(partial, flags, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # A sweep has it, and removes it.
            os.close(descriptor)
            continue
        except OSError:
            # A file system without locks; nothing is swept there.
            return descriptor
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Has errors name this path: Python names none where a write fails, or the partial file."""
    try:
        yield
    except OSError as error:
        if error.filename is None or str(error.filename).endswith(".part"):
            error.filename, error.filename2 = str(path), None
        raise


def sweep_partials(folder: Path) -> None:
    """Removes what writers that were killed left below a folder: files that nobody has locked."""
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
    """As `write_bytes`, in UTF-8."""
    write_bytes(path, text.encode(), durable)


def parquet(frame: pl.DataFrame, metadata: Mapping[str, str] | None = None) -> bytes:
    """A frame as the bytes of a Parquet file."""
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
    """Turns errors of the disk, and of what lies at a path, into errors of one line.

    Raises RunFailed for the disk's own state and UserError for a path that cannot be used.
    """
    try:
        yield
    except OSError as error:
        if why := refusal(error, place):
            raise RunFailed(why) from error
        if error.filename is None:
            # The error is of a connection or a process, not of a file.
            raise
        name, advice = Path(str(error.filename)), "move it away, or make it usable"
        if error.errno == errno.ENOENT:
            advice = "it may have been removed meanwhile; run the same command again"
        if error.errno == errno.ENOTDIR:
            # Name the plain file that is in the place of a folder above the wanted file.
            name = next((parent for parent in reversed(name.parents) if parent.is_file()), name)
        raise UserError(f"{name}: {error.strerror}; {advice}") from error


def refusal(error: OSError, place: Path | None = None) -> str:
    """What the disk's own state kept from being read or written, and advice; "" for other errors.

    `place` is named where the error names no file.
    """
    if error.errno not in _REFUSED:
        return ""
    name = error.filename or place or "a disk"
    advice = _REFUSED[error.errno]
    if Path(str(name)).is_relative_to(cache_folder()):
        advice += ", or set XDG_CACHE_HOME to another folder"
    return f"{name}: {advice}, then run the same command again"
