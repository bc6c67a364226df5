"""The folder of cached files, or a temporary one if the user's cannot be written."""

import atexit
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path


def cache_folder() -> Path:
    """Returns the folder of files that are computed again if they are missing.

    It is `$XDG_CACHE_HOME/pixvox`, or `~/.cache/pixvox`. If that cannot be written, as in a
    container without a home, it is below a temporary folder that is removed with this process.
    """
    users = _users_root()
    if users is None or not is_writable(users / "pixvox"):
        return _temporary_root(os.getpid()) / "pixvox"
    return users / "pixvox"


def share_cache() -> None:
    """Makes libraries and child processes use the temporary folder, if `cache_folder` is in one.

    Files that were downloaded before stay where they are.
    """
    users, root = _users_root(), cache_folder().parent
    if root == users:
        return
    os.environ["XDG_CACHE_HOME"] = str(root)
    os.environ.setdefault("MPLCONFIGDIR", str(root / "matplotlib"))
    for name, folder in (("HF_HOME", "huggingface"), ("TORCH_HOME", "torch")):
        if users is not None and os.access(users / folder, os.R_OK | os.X_OK):
            os.environ.setdefault(name, str(users / folder))


def is_writable(folder: Path) -> bool:
    """Returns whether a folder can be written, or created if it does not exist."""
    there = next(
        (ancestor for ancestor in (folder, *folder.parents) if os.access(ancestor, os.F_OK)), None
    )
    return there is not None and there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _users_root() -> Path | None:
    named = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(named) if named else Path.home() / ".cache"
    except RuntimeError:
        # Neither HOME nor the list of users has a home folder.
        return None


@lru_cache(maxsize=1)
def _temporary_root(process: int) -> Path:
    root = Path(tempfile.mkdtemp(prefix="pixvox-cache-"))

    def remove() -> None:
        # A forked process would run the same exit handlers.
        if os.getpid() == process:
            shutil.rmtree(root, ignore_errors=True)

    atexit.register(remove)
    return root
