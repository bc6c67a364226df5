"""Loads a split of the scenes: the shipped test split, or a folder that was built."""

import importlib.resources
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from bench.common.errors import UserError
from bench.common.yamlfile import Strict
from bench.datasets.base import (
    Caption,
    Dataset,
    Item,
    check_caption,
    digest_of,
    inside,
    text_lines,
)
from bench.datasets.scenes.build import MANIFEST


def shipped_folder() -> Path:
    """Where the test split lies inside the package."""
    return Path(str(importlib.resources.files("bench.datasets.scenes") / "test"))


class _Caption(Strict):
    text: str
    speech: str | None = None


class _Row(Strict):
    """One line of the manifest. An id names files, so it is plain."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=120)]
    image: str
    captions: Annotated[tuple[_Caption, ...], Field(min_length=1)]


def read_scenes(root: Path, limit: int | None = None) -> tuple[Item, ...]:
    """The items of the split in `root`; `limit` takes only its first images.

    Raises UserError naming the manifest's line that cannot be used.
    """
    manifest = root / MANIFEST
    if not manifest.exists():
        raise UserError(f"{manifest}: no such file; build it with: pixvox scenes FOLDER")
    items: dict[str, Item] = {}
    for number, line in enumerate(text_lines(manifest)[:limit], 1):
        try:
            row = _Row.model_validate_json(line)
            for caption in row.captions:
                check_caption(caption.text, "captions")
            item = Item(row.id, inside(root, row.image), _captions(root, row))
        except ValueError as error:
            reason = _reason(error)
            raise UserError(
                f"{manifest}:{number}: not a scene ({reason}); build it again"
            ) from error
        if item.id in items:
            raise UserError(f"{manifest}:{number}: {item.id} is there twice; remove one")
        items[item.id] = item
    return tuple(items.values())


def _reason(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)[:200]
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}"[:200] if where else first["msg"][:200]


def _captions(root: Path, row: _Row) -> tuple[Caption, ...]:
    return tuple(
        Caption(c.text, inside(root, c.speech) if c.speech is not None else None)
        for c in row.captions
    )


def load_scenes(folder: Path | None = None) -> Dataset:
    """The split in `folder`, or the shipped test split (see read_scenes)."""
    root = folder or shipped_folder()
    items = read_scenes(root)
    return Dataset("scenes", root.name, "synthetic, one voice", items, digest_of(items))
