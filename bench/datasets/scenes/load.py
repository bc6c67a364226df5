"""Loads a split of the scenes: the shipped test split, or a folder that was built."""

import importlib.resources
import json
from pathlib import Path

from bench.datasets.scenes.build import MANIFEST
from bench.datasets.types import Caption, Dataset, Item, digest_of
from bench.errors import UserError


def shipped_folder() -> Path:
    """Where the test split lies inside the package."""
    return Path(str(importlib.resources.files("bench.datasets.scenes") / "test"))


def read_scenes(root: Path, limit: int | None = None) -> tuple[Item, ...]:
    """The items of the split in `root`; `limit` takes only its first images.

    Raises UserError naming the manifest's line that cannot be used.
    """
    manifest = root / MANIFEST
    if not manifest.exists():
        raise UserError(f"{manifest}: no such file; build it with: pixvox scenes FOLDER")
    items = []
    lines = manifest.read_text(encoding="utf-8").splitlines()[:limit]
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            captions = tuple(
                Caption(c["text"], root / c["speech"] if "speech" in c else None)
                for c in row["captions"]
            )
            items.append(Item(row["id"], root / row["image"], captions))
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise UserError(
                f"{manifest}:{number}: not a scene ({error}); build it again"
            ) from error
    return tuple(items)


def load_scenes(folder: Path | None = None) -> Dataset:
    """The split in `folder`, or the shipped test split (see read_scenes)."""
    root = folder or shipped_folder()
    items = read_scenes(root)
    return Dataset("scenes", root.name, "synthetic, one voice", items, digest_of(items))
