"""A folder for one process at a time.

The folder itself is locked, not a file in it: nobody can delete the lock without the folder.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.common.errors import RunFailed, UserError


class Lock:
    """A folder that this process has to itself."""

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
    held = os.fstat(descriptor)
    try:
        there = folder.stat()
    except OSError:
        return False
    return (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino)


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
    """Keeps a folder for this process; the system lets go of it however the process ends.

    Raises UserError where another process has it, and still has it after `patience` seconds.
    """
    until = time.monotonic() + patience
    while True:
        # In the loop: who had it before may have removed it, at any point.
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
            if _taken(descriptor, folder, time.monotonic() < until):
                yield Lock(folder, descriptor)
                return
        finally:
            os.close(descriptor)


def _taken(descriptor: int, folder: Path, again: bool) -> bool:
    """Whether the lock is ours, and the folder still the one at its path."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        if again:
            time.sleep(0.02)
            return False
        process = holder(folder)
        who = "another pixvox" if process is None else f"another pixvox (process {process})"
        raise UserError(f"{folder}: {who} is writing here; wait for it, or stop it") from error
    return _is_at(descriptor, folder)
