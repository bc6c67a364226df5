"""Where what can be made again is kept."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """What can be made again is kept here: `$XDG_CACHE_HOME/pixvox`, or `~/.cache/pixvox`."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "pixvox"
