"""The folder of cached files."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder of files that are computed again where they are missing.

    It is `$XDG_CACHE_HOME/pixvox`, or `~/.cache/pixvox`.
    """
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "pixvox"
