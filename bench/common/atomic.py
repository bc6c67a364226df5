"""Files that are whole or not there, whatever ends the write; what disks refuse, in one line."""

import errno
import hashlib
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from bench.common.errors import RunFailed, UserError

_REFUSED = {
    errno.ENOSPC: "disk full; make room",
    errno.EDQUOT: "disk quota used up; make room",
    errno.EFBIG: "larger than a file may be here; make room, or raise the limit",
    errno.EROFS: "read-only file system; make it writable",
    errno.EIO: "the disk failed to read or write; look at it",
}


def partial_of(path: Path) -> Path:
    """Where a file is written until it is whole, under a name as short as any."""
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]
    return path.with_name(f".{digest}.{os.getpid()}.part")


def write_bytes(path: Path, data: bytes, durable: bool = False) -> None:
    """Gives a file this content in one step; `durable` also over a loss of power.

    A link at `path` is replaced, and what it leads to stays as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_of(path)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        with open(os.open(partial, flags, 0o666), "wb") as stream:  # noqa: PTH123
            stream.write(data)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if durable:
        _sync(path.parent)


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
    """Tells in one line what the disk, or what lies at a path, kept from being read or written.

    Raises RunFailed for the disk's own state and UserError for a path that cannot be used.
    """
    try:
        yield
    except OSError as error:
        name = str(error.filename or place)
        if error.errno in _REFUSED:
            why = _REFUSED[error.errno]
            raise RunFailed(f"{name}: {why}, then run the same command again") from error
        if error.filename is None:
            # Of a connection or a process, not of a file.
            raise
        raise UserError(f"{name}: {error.strerror}; move it away, or make it usable") from error
