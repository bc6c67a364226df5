"""A command's temporary folder, and the removal of folders whose command was killed.

A file in the folder is locked while the command lives. The system releases a lock when its process
ends, so the command of an unlocked file is dead.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.common.processes import kill, pids_with_variable, writers

MARK = "PIXVOX_SCRATCH"
"""The environment variable that holds the folder; it identifies a command's processes."""
_PREFIX = "pixvox-"
_LOCK = "alive"
_LONGEST = 107 - len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
"""Bytes of the folder's path, so that the paths of Ray's sockets below it have at most 107."""

_current: Path | None = None


@dataclass(frozen=True)
class Scratch:
    """A folder and the descriptor of its lock, which forked processes share."""

    path: Path
    lock: int

    def enter(self) -> None:
        """Makes it the temporary folder of this process and its children."""
        global _current
        _current = self.path
        os.environ |= {"TMPDIR": str(self.path), MARK: str(self.path)}
        tempfile.tempdir = None

    def remove(self) -> None:
        """Removes the folder and releases its lock."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


def base(levels: int = 1) -> Path:
    """Returns the parent of the folders: TMPDIR, or /tmp if TMPDIR is too long for Ray's sockets.

    With two levels there is room for a folder inside the folder.
    """
    here = Path(tempfile.gettempdir())
    length = len(os.fsencode(here)) + levels * len(f"/{_PREFIX}12345678")
    return here if length <= _LONGEST else Path("/tmp")


def make(levels: int = 1) -> Scratch:
    """Creates a folder, locked by this process."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base(levels)))
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        # A sweep of another command may remove the folder before it is locked.
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_nlink:
                return Scratch(path, lock)
        os.close(lock)


def sweep() -> list[Path]:
    """Removes the folders of this user's dead commands, and kills the processes that they left.

    Returns the removed folders.
    """
    return [path for path in base().glob(f"{_PREFIX}*") if remove_if_dead(path)]


def remove_if_dead(path: Path) -> bool:
    """Removes a folder if its command is dead; returns whether it was removed."""
    try:
        if path.is_symlink() or path.stat().st_uid != os.getuid():
            return False
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.fstat(lock).st_nlink:
            # Its command or another sweep has just removed it.
            return False
        for _ in range(100):
            # `writers` finds processes that have overwritten their environment with a title.
            left = {*pids_with_variable(MARK, str(path)), *writers(path, _LOCK)} - {os.getpid()}
            if not left:
                break
            for pid in left:
                kill(pid)
            time.sleep(0.02)
        shutil.rmtree(path, ignore_errors=True)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(lock)


def is_scratch(path: Path) -> bool:
    """Returns whether a path is in a command's temporary folder, of any user, living or dead."""
    return any(part.startswith(_PREFIX) for part in path.parts)


@contextmanager
def short_folder() -> Iterator[Path]:
    """Gives the command's folder, or a temporary one outside a supervised command."""
    if _current is not None:
        yield _current
        return
    scratch = make()
    try:
        yield scratch.path
    finally:
        scratch.remove()
