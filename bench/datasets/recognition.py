"""Where the pictures of a caption file lie that names them by paths below some folder."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar

from bench.common.errors import UserError
from bench.datasets.base import Item

T = TypeVar("T")


class NoPictures(UserError):
    """A file of captions was recognised, and none of its pictures is found."""


def first_recognised(readers: Iterable[Callable[[], T | None]]) -> T | None:
    """The first reader's value that is not None; a file that it cannot read is another's.

    Raises the first NoPictures where no reader has a value.
    """
    missing: NoPictures | None = None
    for read in readers:
        try:
            if (value := read()) is not None:
                return value
        except NoPictures as error:
            missing = missing or error
        except UserError:
            # A file of such a name that is something else.
            continue
    if missing:
        raise missing
    return None


def image_folder(file: Path, items: Sequence[Item], further: Sequence[Path] = ()) -> Path | None:
    """The folder below which the pictures of a caption file lie; None where it names none.

    `items` were read with the file's folder as that of their pictures. The candidates are that
    folder, the folders in it and beside it, and the `further` ones with the folders in them.
    Raises NoPictures where none of them has any picture.
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
    # A folder that may not be listed has none.
    return [path for path in sorted(folder.glob("*")) if path.is_dir()]
