"""Loads a split of the scenes: the shipped test split, or a folder that was built."""

import importlib.resources
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError

from bench.common.bounds import Seed
from bench.common.errors import UserError
from bench.common.progress import Progress
from bench.common.yamlfile import FilePath, Strict
from bench.datasets.base import (
    Caption,
    Dataset,
    DatasetSpec,
    Half,
    Item,
    check_caption,
    inside,
    text_lines,
)
from bench.datasets.loading import load_dataset
from bench.datasets.narrated import SYNTHETIC
from bench.datasets.scenes.build import MANIFEST, SplitPlan, build_split, read_plan
from bench.datasets.scenes.facts import KINDS
from bench.datasets.standing import OWN_DATA
from bench.datasets.storedunits import UNITS, UnitsEntry

Images = Annotated[int, Field(ge=0, le=1_000_000, description="there are not more scenes")]


def shipped_folder() -> Path:
    """Returns the folder of the test split inside the package."""
    return Path(str(importlib.resources.files("bench.datasets.scenes") / "test"))


_FACT = rf"^({'|'.join(KINDS)}): [a-z0-9|]+$"


class _Caption(Strict):
    text: str
    speech: str | None = None


class _Row(Strict):
    """One line of the manifest. The id names files, so few characters are allowed."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=120)]
    image: str
    facts: tuple[Annotated[str, Field(pattern=_FACT, max_length=200)], ...] = ()
    captions: Annotated[tuple[_Caption, ...], Field(min_length=1)]


def read_scenes(root: Path, limit: int | None = None) -> tuple[Item, ...]:
    """Returns the items of the split in `root`, only the first ones with a `limit`.

    Raises UserError naming an invalid line of the manifest.
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
            image, captions = inside(root, row.image), _captions(root, row)
            item = Item(row.id, image, captions, row.facts)
        except ValueError as error:
            reason = _reason(error)
            raise UserError(
                f"{manifest}:{number}: not a scene ({reason}); build it again"
            ) from error
        if item.id in items:
            raise UserError(f"{manifest}:{number}: {item.id} occurs twice; remove one")
        items[item.id] = item
    return tuple(items.values())


def _reason(error: ValueError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)[:200]
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}"[:200] if where else first["msg"][:200]


def _captions(root: Path, row: _Row) -> tuple[Caption, ...]:
    file = root / UNITS
    has_units = file.exists()

    def spoken(text: str, speech: Path) -> Caption:
        return Caption(text, speech, units=UnitsEntry(file, speech.stem) if has_units else None)

    return tuple(
        spoken(c.text, inside(root, c.speech)) if c.speech is not None else Caption(c.text)
        for c in row.captions
    )


class ScenesSpec(DatasetSpec):
    """The shipped test split, or a folder that `pixvox scenes` has built.

    For a training, missing scenes of `seed` are built in `folder`, by default `work/scenes`.
    """

    name: Literal["scenes"]
    """Which dataset it is."""
    folder: FilePath | None = None
    """A split that `pixvox scenes` has built; `null` for the shipped test split. In a training, the
    folder of its splits."""
    train_images: Images | None = None
    """How many pictures a training learns from."""
    validation_images: Images = 0
    """How many pictures a training is validated on."""
    seed: Seed = 0
    """The seed of a training's pictures."""

    only_training = frozenset({"train_images", "validation_images", "seed"})
    needs_training = frozenset({"train_images"})

    @classmethod
    def recognised(cls, folder: Path, further: Sequence[Path] = ()) -> Self | None:
        """Returns the spec of a folder of scenes; a manifest without facts is not one."""
        try:
            items = read_scenes(folder)
        except UserError:
            return None
        known = any(item.facts and item.image.is_file() for item in items)
        return cls(name="scenes", folder=folder) if known else None

    def read(self) -> Dataset:
        root = self.folder or shipped_folder()
        items = read_scenes(root)
        standing = (OWN_DATA,) if self.folder else ()
        kind = SYNTHETIC
        return Dataset(self.name, root.name, kind, items, standing=standing)

    def half(self, half: Half, report: Progress) -> Sequence[Item]:
        images = (self.train_images or 0) if half == "train" else self.validation_images
        folder = self.computed() / half
        manifest = folder / MANIFEST
        plan, previous = SplitPlan(split=half, images=images, seed=self.seed), read_plan(folder)
        enough = manifest.exists() and len(text_lines(manifest)) >= images
        if not enough or not isinstance(previous, dict) or previous.get("seed") != self.seed:
            for done in build_split(plan, folder):
                report(f"scenes {half}", done, images)
        return read_scenes(folder, images)

    def placed(self) -> Self:
        return self.model_copy(update={"folder": self.computed().absolute()})

    def computed(self) -> Path:
        return self.folder or Path("work/scenes")


def load_scenes(folder: Path | None = None) -> Dataset:
    """Returns the split in `folder`, or the shipped test split; raises as `read_scenes`."""
    return load_dataset(ScenesSpec(name="scenes", folder=folder))
