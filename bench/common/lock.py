"""Locks a folder for one process.

The folder itself is locked and not a file in it, so the lock cannot be deleted without the folder.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.common.errors import RunFailed, UserError


class Lock:
    """A folder that this process has locked."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self.folder = folder
        self._descriptor = descriptor

    def check(self) -> None:
        """Raises RunFailed where the folder was deleted, moved away or replaced meanwhile."""
        if not _is_at(self._descriptor, self.folder):
            raise RunFailed(
                f"{self.folder}: moved or deleted while this process was writing there; "
                "put it back, and run the same command again"
            )


def _is_at(descriptor: int, folder: Path) -> bool:
    locked_stat = os.fstat(descriptor)
    try:
        path_stat = folder.stat()
    except OSError:
        return False
    return (locked_stat.st_dev, locked_stat.st_ino) == (path_stat.st_dev, path_stat.st_ino)


def holder(folder: Path) -> int | None:
    """Returns the process that has a folder locked, from /proc/locks; None where there is none."""
    try:
        lines = Path("/proc/locks").read_text().splitlines()
        node = f":{folder.stat().st_ino}"
    except OSError:
        return None
    locks = (line.split() for line in lines if " FLOCK " in line)
    pids = [int(lock[4]) for lock in locks if len(lock) == 8 and lock[5].endswith(node)]
    return pids[0] if pids else None


@contextmanager
def locked(folder: Path, patience: float = 0.0) -> Iterator[Lock]:
    """Creates and locks a folder; the system releases the lock when the process ends.

    Raises UserError where another process still has it locked after `patience` seconds.
    """
    until = time.monotonic() + patience
    while True:
        # Repeated, because the previous holder may remove the folder at any point.
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        except FileExistsError:
            if folder.exists():
                raise
            continue
        try:
            if _try_lock(descriptor, folder, may_wait=time.monotonic() < until):
                yield Lock(folder, descriptor)
                return
        finally:
            os.close(descriptor)


def _try_lock(descriptor: int, folder: Path, *, may_wait: bool) -> bool:
    """Locks an open folder; returns False where it has to be tried again.

    That is so where another process has the lock and this one `may_wait`, and where the folder was
    removed or replaced. Raises UserError where another process has the lock.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        if may_wait:
            time.sleep(0.02)
            return False
        process = holder(folder)
        who = "another pixvox" if process is None else f"another pixvox (process {process})"
        raise UserError(f"{folder}: {who} is writing here; wait for it, or stop it") from error
    return _is_at(descriptor, folder)
