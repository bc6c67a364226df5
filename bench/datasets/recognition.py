"""Finds the pictures of a caption file that names them relative to an unknown folder."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

from bench.common.errors import UserError
from bench.datasets.base import Item

T = TypeVar("T")


class NoPictures(UserError):
    """A file of captions was recognised, but none of its pictures exists."""


def first_recognised(readers: Iterable[Callable[[], T | None]]) -> T | None:
    """Returns the first value that is not None; readers that raise UserError are skipped.

    Raises the first NoPictures where no reader returns a value.
    """
    missing: NoPictures | None = None
    for read in readers:
        try:
            if (value := read()) is not None:
                return value
        except NoPictures as error:
            missing = missing or error
        except UserError:
            # The file has a known name but another format.
            continue
    if missing:
        raise missing
    return None


def image_folder(file: Path, items: Sequence[Item], further: Sequence[Path] = ()) -> Path | None:
    """Returns the folder that a file's picture names are relative to; None if it names none.

    `items` were read as if it was the file's own folder. The candidates are that folder, the
    folders in it and beside it, and the `further` ones with the folders in them. Raises NoPictures
    where none of them has any of the pictures.
    """
    folder = file.parent
    names = [item.image.relative_to(folder) for item in items]
    near = chain([folder], _folders_in(folder), _folders_in(folder.parent))
    candidates = chain(near, *([path, *_folders_in(path)] for path in further))
    place = next((path for path in candidates if any((path / n).is_file() for n in names)), None)
    if names and place is None:
        raise NoPictures(
            f"{file}: its pictures (first: {names[0]}) are not in {folder}, nor in a folder in it "
            f"or beside it; name their folder too: pixvox init {folder} PICTURES"
        )
    return place


def _folders_in(folder: Path) -> list[Path]:
    # glob yields nothing for a folder without permission.
    return [path for path in sorted(folder.glob("*")) if path.is_dir()]
