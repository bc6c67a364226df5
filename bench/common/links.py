"""Refuses symbolic links inside a run, so that nothing outside its folder is changed."""

import os
from pathlib import Path

from bench.common.errors import UserError


def refuse_links(run: Path) -> None:
    """Raises UserError naming the first link at or below a run's folder."""
    link = run if run.is_symlink() else _first_link(run)
    if link is not None:
        raise UserError(
            f"{link}: a link inside a run, whose target may belong to another user; remove it, or "
            "replace it by its target (the folder of all runs may be a link)"
        )


def _first_link(folder: Path) -> Path | None:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    for entry in entries:
        if entry.is_symlink():
            return Path(entry.path)
        if entry.is_dir(follow_symlinks=False) and (link := _first_link(Path(entry.path))):
            return link
    return None
