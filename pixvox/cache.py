"""The folder of cached files, and a temporary one where the user's cannot be written."""

import atexit
import os
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path


def cache_folder() -> Path:
    """Returns the folder of files that are computed again where they are missing.

    It is `$XDG_CACHE_HOME/pixvox`, or `~/.cache/pixvox`. Where that cannot be written, as in a
    container without a home, it is below a temporary folder that is removed with this process.
    """
    users = _users_root()
    if users is None or not is_writable(users / "pixvox"):
        return _temporary_root(os.getpid()) / "pixvox"
    return users / "pixvox"


def share_cache() -> None:
    """Has libraries and child processes use the temporary folder, where `cache_folder` is in one.

    What was downloaded before stays where it is.
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
    """Returns whether a folder can be written, or made where it is not there yet."""
    there = next(
        (ancestor for ancestor in (folder, *folder.parents) if os.access(ancestor, os.F_OK)), None
    )
    return there is not None and there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _users_root() -> Path | None:
    named = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(named) if named else Path.home() / ".cache"
    except RuntimeError:
        # Neither HOME nor the list of users says where it is.
        return None


@lru_cache(maxsize=1)
def _temporary_root(process: int) -> Path:
    root = Path(tempfile.mkdtemp(prefix="pixvox-cache-"))

    def remove() -> None:
        # A process that is forked off ends with the same handlers.
        if os.getpid() == process:
            shutil.rmtree(root, ignore_errors=True)

    atexit.register(remove)
    return root
