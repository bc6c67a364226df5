"""A command's one temporary folder, and the removal of those whose command was killed.

A file in it is locked for as long as the command lives. A lock ends with its process, so an
unlocked one proves that its command is dead.
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

from bench.common.processes import kill, marked, writers

MARK = "PIXVOX_SCRATCH"
"""The environment's name for the folder; what a command starts is known by it."""
_PREFIX = "pixvox-"
_LOCK = "alive"
_LONGEST = 107 - len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
"""Ray's sockets lie that far below its folder, and a socket's path has 107 bytes at most."""

_current: Path | None = None


@dataclass(frozen=True)
class Scratch:
    """A folder and its lock, which processes that are forked off share."""

    path: Path
    lock: int

    def enter(self) -> None:
        """From now on all that this process and its children keep for a while is in here."""
        global _current
        _current = self.path
        os.environ |= {"TMPDIR": str(self.path), MARK: str(self.path)}
        tempfile.tempdir = None

    def remove(self) -> None:
        """Takes the folder away."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


def base(levels: int = 1) -> Path:
    """Where the folders are: TMPDIR, unless Ray's sockets would get too long a path there.

    With two levels there is room for a folder in the folder.
    """
    here = Path(tempfile.gettempdir())
    length = len(os.fsencode(here)) + levels * len(f"/{_PREFIX}12345678")
    return here if length <= _LONGEST else Path("/tmp")


def make(levels: int = 1) -> Scratch:
    """A new folder of this process."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base(levels)))
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        # Somebody's sweep may come before the lock, and takes the folder for a dead command's.
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock).st_nlink:
                return Scratch(path, lock)
        os.close(lock)


def sweep() -> list[Path]:
    """Removes the folders of this user's dead commands, and ends the processes that they left.

    Returns the removed folders.
    """
    swept_folders = []
    for path in base().glob(f"{_PREFIX}*"):
        if swept(path):
            swept_folders.append(path)
    return swept_folders


def swept(path: Path) -> bool:
    """Removes a folder if its command is dead; returns whether it was."""
    try:
        if path.is_symlink() or path.stat().st_uid != os.getuid():
            return False
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.fstat(lock).st_nlink:
            # Its command, or another sweep, has removed it meanwhile.
            return False
        for _ in range(100):
            # A process that gives itself a title may have written it over its environment.
            left = {*marked(MARK, str(path)), *writers(path, _LOCK)} - {os.getpid()}
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
    """Whether a folder is a command's own, or in one; of any user, and whether it lives or not."""
    return any(part.startswith(_PREFIX) for part in path.parts)


@contextmanager
def short_folder() -> Iterator[Path]:
    """The command's folder, or one for the time being where there is no supervised command."""
    if _current is not None:
        yield _current
        return
    scratch = make()
    try:
        yield scratch.path
    finally:
        scratch.remove()
