"""Where the pictures of a caption file lie that names them by paths below some folder."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from bench.datasets.base import Item


def image_folder(folder: Path, items: Sequence[Item]) -> Path | None:
    """The folder below which the pictures lie; None where no candidate has a picture.

    `items` were read with `folder` as the folder of their pictures. The candidates are `folder`,
    the folders in it, and the folders beside it.
    """
    names = [item.image.relative_to(folder) for item in items]
    candidates = chain([folder], _folders_in(folder), _folders_in(folder.parent))
    return next((path for path in candidates if any((path / n).is_file() for n in names)), None)


def _folders_in(folder: Path) -> list[Path]:
    # A folder that may not be listed has none.
    return [path for path in sorted(folder.glob("*")) if path.is_dir()]
