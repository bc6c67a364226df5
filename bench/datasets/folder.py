"""A user's own data: a manifest that lists images with their captions and speech.

A JSONL file has a line for each image: `{"id": "a", "image": "a.jpg", "captions": ["a dog runs",
{"text": "…", "speech": "a.wav", "speaker": "s1"}]}`. A CSV file has a row for each caption:
`id,image,caption,speech,speaker`. Ids, speech and speakers are optional; the default of an id is
the image's stem. Paths are relative to the file.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator

from bench.common.errors import UserError
from bench.common.progress import Progress
from bench.common.yamlfile import FilePath, Strict
from bench.datasets.base import (
    Caption,
    Dataset,
    DatasetSpec,
    Half,
    Item,
    speech_kind,
    text_lines,
)
from bench.datasets.csvfile import read_rows
from bench.datasets.gathering import Gathered, below
from bench.datasets.jsonfile import parse_json, validate_object
from bench.datasets.narrated import kind_of_speech
from bench.datasets.recognition import NoPictures, first_recognised
from bench.datasets.standing import OWN_DATA
from bench.datasets.storedunits import entries_beside, name_of


class _Caption(Strict):
    text: str
    speech: str | None = None
    speaker: str = ""


class _Row(Strict):
    id: str | None = None
    image: str
    captions: tuple[_Caption, ...] = ()


def _manifest(path: Path) -> Path:
    if path.suffix.lower() not in (".jsonl", ".csv"):
        raise ValueError(f"{path.name} is no .jsonl or .csv; see docs/datasets.md for the formats")
    return path


Manifest = Annotated[FilePath, AfterValidator(_manifest)]


def _written_short(row: Any) -> Any:
    """Returns a row with mappings in place of captions that are plain text."""
    if isinstance(row, dict) and isinstance(row.get("captions"), list):
        texts = [{"text": c} if isinstance(c, str) else c for c in row["captions"]]
        return row | {"captions": texts}
    return row


def _of_lines(path: Path) -> Iterator[tuple[int, _Row]]:
    for number, line in enumerate(text_lines(path), 1):
        if line.strip():
            at = f"{path}:{number}"
            yield number, validate_object(_written_short(parse_json(line, at)), _Row, at)


def _of_table(path: Path) -> Iterator[tuple[int, _Row]]:
    """Yields each image with the captions of all its rows, and its first row's line number."""
    images: dict[str, tuple[int, _Row]] = {}
    for number, row in read_rows(path, ("image", "caption"), ("id", "speech", "speaker")):
        at = f"{path}:{number}"
        name = row["id"] or Path(row["image"]).stem
        first, whole = images.get(name, (number, _Row(id=name, image=row["image"])))
        if row["image"] != whole.image:
            raise UserError(
                f"{at}: {name[:80]} has the image {row['image'][:80]!r}, and on line {first} "
                f"{whole.image[:80]!r}; give one of them another id"
            )
        captions = whole.captions
        if row["caption"].strip():
            text, speech = row["caption"].strip(), row["speech"] or None
            captions = (*captions, _Caption(text=text, speech=speech, speaker=row["speaker"]))
        elif name in images or row["speech"]:
            raise UserError(f"{at}: {name[:80]} has an empty caption; remove the line")
        images[name] = first, whole.model_copy(update={"captions": captions})
    yield from images.values()


def read_manifest(path: Path) -> Gathered:
    """Reads the images of a JSONL or CSV file; those without a caption are unusable.

    Raises UserError naming the line, the item and what to do.
    """
    gathered = Gathered()
    units = entries_beside(path.parent)
    rows = _of_table(path) if path.suffix.lower() == ".csv" else _of_lines(path)
    for number, row in rows:
        at = f"{path}:{number}"
        file = below(path.parent, at)
        image = file(row.image)
        name = row.id or image.stem
        captions = []
        for caption_number, c in enumerate(row.captions):
            speech = file(c.speech) if c.speech is not None else None
            entry = units.get(name_of(name, caption_number) if speech is None else speech.stem)
            captions.append(Caption(c.text, speech, c.speaker, entry))
        gathered.add(at, name, image, captions)
    return gathered


class FolderSpec(DatasetSpec):
    """A user's own images and captions, listed in a manifest; `validation` is another manifest.

    A training writes the files that it computes to `folder`.
    """

    name: Literal["folder"]
    """Which dataset it is."""
    manifest: Manifest
    """A JSONL or CSV file of ids, images and captions; paths in it are below its folder."""
    validation: Manifest | None = None
    """Another manifest, with a training's validation data."""
    folder: FilePath = Path("work/folder")
    """The folder for the files that a training computes from the data."""

    only_training = frozenset({"validation", "folder"})

    @classmethod
    def recognised(cls, folder: Path, further: Sequence[Path] = ()) -> Self | None:
        """Returns the spec of the first manifest that names an existing picture."""
        paths = sorted([*folder.glob("*.jsonl"), *folder.glob("*.csv")])
        return first_recognised(partial(cls._of_file, path) for path in paths)

    @classmethod
    def _of_file(cls, path: Path) -> Self | None:
        items = read_manifest(path).items
        if items and not any(item.image.is_file() for item in items):
            first = items[0].image.relative_to(path.parent)
            raise NoPictures(
                f"{path}: its pictures (first: {first}) are not there; their names must lead from "
                "its own folder to them"
            )
        return cls(name="folder", manifest=path) if items else None

    def read(self) -> Dataset:
        gathered = read_manifest(self.manifest)
        kind = kind_of_speech(self.manifest.parent, speech_kind(gathered.items))
        split = self.manifest.stem
        return Dataset(
            self.name, split, kind, gathered.items, unusable=gathered.unusable, standing=(OWN_DATA,)
        )

    def half(self, half: Half, report: Progress) -> Sequence[Item]:
        manifest = self.manifest if half == "train" else self.validation
        return read_manifest(manifest).items if manifest is not None else ()

    def computed(self) -> Path:
        return self.folder
