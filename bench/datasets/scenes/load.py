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


def load_scenes(folder: Path | None = None) -> Dataset:
    """The split in `folder`, or the shipped test split.

    Raises UserError naming the manifest's line that cannot be used.
    """
    root = folder or shipped_folder()
    manifest = root / MANIFEST
    if not manifest.exists():
        raise UserError(f"{manifest}: no such file; build it with: pixvox scenes FOLDER")
    items = []
    for number, line in enumerate(manifest.read_text(encoding="utf-8").splitlines(), 1):
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
    return Dataset("scenes", root.name, "synthetic, one voice", tuple(items), digest_of(items))
