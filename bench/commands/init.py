"""`pixvox init`: writes a job file, with comments, for the data in some folders."""

import json
import re
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

from bench.commands.options import Parser, path
from bench.common.atomic import disk_errors, write_text
from bench.common.errors import UserError
from bench.common.strictyaml import read_yaml
from bench.common.text import clean, plural
from bench.common.yamlfile import validate
from bench.datasets.base import Dataset, DatasetSpec, no_items
from bench.datasets.recognition import NoPictures
from bench.datasets.scenes.load import ScenesSpec
from bench.datasets.shipped import recognise_dataset
from bench.jobs.spec import Job
from bench.systems.base import System
from bench.systems.shipped import recognise_system

_PLAIN = re.compile(r"[A-Za-z_./~][\w./~-]*", re.ASCII)
_WORDS = ("true", "false", "null", "~")
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
CAPTIONS = "captions.jsonl"
_ZOO: dict[str, Any] = {
    "kind": "pixvox",
    "label": "PixVoxLM-small",
    "weights": "zoo:pixvox-small-delay",
    "decoding": {"guidance": 2, "longest_run": 20},
}


@dataclass(frozen=True, kw_only=True)
class _Contents:
    """The data and the systems in some folders; `of` are the folders of the systems."""

    data: DatasetSpec
    dataset: Dataset
    is_own: bool
    systems: tuple[System, ...]
    of: tuple[Path, ...]

    @property
    def is_recorded(self) -> bool:
        """Whether every image has a caption with an existing recording."""
        return all(
            any(c.speech is not None and c.speech.is_file() for c in item.captions)
            for item in self.dataset.items
        )

    @property
    def has_spare_captions(self) -> bool:
        """Whether a caption of every image can be left out of the references."""
        return all(len(item.captions) > 1 for item in self.dataset.items)


def _with_subfolders(folders: Sequence[Path]) -> list[Path]:
    """Returns the folders, each followed by the folders in it."""
    nested = []
    for folder in folders:
        if folder.is_file():
            raise UserError(f"{folder}: is a file; name its folder: pixvox init {folder.parent}")
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; name one of pictures, audio or weights")
        inside = [path for path in sorted(folder.iterdir()) if path.is_dir()]
        nested += [folder, *(path for path in inside if not path.name.startswith("."))]
    return list(dict.fromkeys(nested))


def _list_captions(folder: Path) -> bool:
    """Writes a manifest of the pictures with a text file of the same name; returns whether any has.

    Each line of such a file is a caption.
    """
    rows = []
    for picture in sorted(folder.iterdir()):
        text = picture.with_suffix(".txt")
        if picture.suffix.lower() not in _PICTURES or not text.is_file():
            continue
        lines = text.read_text(encoding="utf-8", errors="replace").splitlines()
        captions = [line.strip() for line in lines if line.strip()]
        rows.append({"id": picture.stem, "image": picture.name, "captions": captions})
    if rows:
        with disk_errors(folder):
            text_of = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            write_text(folder / CAPTIONS, "".join(text_of))
        print(clean(f"{folder / CAPTIONS}: {plural(len(rows), 'picture')} and their captions"))
    return bool(rows)


def _read_contents(folders: Sequence[Path]) -> _Contents:
    """Returns the data and systems in the folders.

    Raises UserError where there are neither, or several folders of data.
    """
    places = _with_subfolders(folders)
    data: dict[Path, DatasetSpec] = {}
    missing: NoPictures | None = None
    for place in places:
        try:
            if recognised := recognise_dataset(place, folders):
                data[place] = recognised
        except NoPictures as error:
            missing = missing or error
    if not data:
        data = {
            place: recognised
            for place in places
            if _list_captions(place) and (recognised := recognise_dataset(place))
        }
    if len(data) > 1:
        named = ", ".join(str(place) for place in data)
        raise UserError(f"init: several folders of pictures and captions ({named}); name one")
    spec = next(iter(data.values()), None) or ScenesSpec(name="scenes")
    dataset = spec.read()
    if not dataset.items:
        raise UserError(f"{next(iter(data))}: {no_items(dataset)}")
    recordings = {caption.speech for item in dataset.items for caption in item.captions}
    systems = {
        place: system
        for place in places
        if place not in data and (system := recognise_system(place, dataset.items))
        if recordings.isdisjoint(system.files(dataset.items))
    }
    if missing and not data and not systems:
        raise missing
    if not data and not systems:
        named = ", ".join(map(str, folders))
        raise UserError(
            f"{named}: nothing to evaluate is there; name a folder of pictures with captions (a "
            ".jsonl or .csv, or a .txt beside each picture), one of audio files called as its "
            "pictures, or a checkpoint of PixVoxLM; docs/datasets.md has the formats"
        )
    named_apart = _with_own_labels(systems.values())
    return _Contents(
        data=spec, dataset=dataset, is_own=bool(data), systems=tuple(named_apart), of=tuple(systems)
    )


def _with_own_labels(systems: Iterable[System]) -> Iterator[System]:
    """Yields the systems, numbered where their label is used already, as by a ceiling or floor."""
    used = {"reference text", "recorded speech", "shuffled speech"}
    for system in systems:
        numbered = (f"{system.label[:90]}-{number}" for number in count(2))
        label = next(label for label in chain([system.label], numbered) if label not in used)
        used.add(label)
        yield system.model_copy(update={"label": label})


def _flow(value: Any) -> str:
    """Returns plain content as a line of YAML, from which the strict reader reads the same."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


def _given(model: DatasetSpec | System) -> str:
    return _flow(model.model_dump(mode="json", exclude_defaults=True))


def _name(contents: _Contents, out: Path) -> str:
    """Returns the run's name, after the file; after the first system if that has a default name."""
    usual = out.stem in ("job", "pixvox")
    label = contents.systems[0].label if contents.systems else Path(contents.dataset.split).name
    plain = re.sub(r"[^a-z0-9_-]+", "-", (label if usual else out.stem).lower()).strip("-_")
    return plain[:100] or "mine"


def _lines(contents: _Contents, out: Path) -> Iterator[str]:
    items = contents.dataset.items
    counts = sorted({len(item.captions) for item in items})
    most = plural(counts[-1], "caption")
    each = most if len(counts) == 1 else f"{counts[0]} to {most}"
    yield "# Written by pixvox init. docs/jobs.md explains the keys, docs/reference.md lists them."
    yield f"#   pixvox run {out} --dry-run    prints what there is to do"
    yield f"#   pixvox run {out}              does it, and prints the tables"
    yield f"name: {_flow(_name(contents, out))}"
    yield f"# {plural(len(items), 'image')} with {each} each."
    if not contents.is_own:
        yield "# The suite's own pictures, because none with captions were found. Name yours here."
    yield f"dataset: {_given(contents.data)}"
    yield "# Only the first images, for a first try:"
    yield "# limit: 20"
    yield "systems:"
    if contents.has_spare_captions:
        yield "  # Ceiling: a caption as text, scored against the other captions of its image."
        yield "  - {kind: text}"
    if contents.has_spare_captions and contents.is_recorded:
        yield "  # Ceiling: that caption's recording."
        yield "  - {kind: recorded}"
    if not contents.systems:
        yield "  # The suite's own model for photos. Replace its weights with yours."
        yield f"  - {_flow(_ZOO)}"
    for system, folder in zip(contents.systems, contents.of, strict=True):
        yield clean(f"  # {_counted(system, contents.dataset, folder)}")
        yield f"  - {_given(system)}"
    if len(items) > 1:
        yield "  # Floor: speech of other images. A system that uses the picture is above it."
        yield "  - {kind: shuffled}"
    yield "# Whisper. A list shows how scores depend on the ASR: [{model: tiny.en}, {model: base}]."
    yield "asr: {model: tiny.en}"
    if contents.has_spare_captions:
        yield "# The caption that the ceilings speak is left out of the references."
        yield "scoring: {references: others}"
    else:
        yield "# At least one image has only one caption, which is needed as a reference."
        yield "scoring: {references: all}"


def _counted(system: System, dataset: Dataset, folder: Path) -> str:
    files = system.files(dataset.items)
    if not files:
        return f"The checkpoint in {folder}."
    there = sum(path.is_file() for path in files)
    return f"{there} of {len(files)} images have an audio file in {folder}."


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "folders",
        type=path,
        nargs="*",
        default=[Path()],
        metavar="FOLDER",
        help="pictures with captions, audio files, a checkpoint; without any, the current folder",
    )
    parser.add_argument(
        "-o", "--out", type=path, default=Path("job.yaml"), help="the job file (%(default)s)"
    )


def run(args: Namespace) -> int:
    """Writes the job."""
    return init(args.folders, args.out)


def init(folders: Sequence[Path], out: Path) -> int:
    """Writes a job that evaluates the contents of the folders and of the folders in them.

    Raises UserError where there is nothing to evaluate, or the file exists.
    """
    if out.exists():
        raise UserError(f"{out}: is there already; name another file: -o FILE")
    contents = _read_contents(folders)
    text = "\n".join(_lines(contents, out)) + "\n"
    validate(read_yaml(text, str(out)), Job, str(out))
    with disk_errors(out):
        write_text(out, text)
    print(clean(f"{out}: a job of {plural(len(contents.dataset.items), 'image')}"))
    for system, folder in zip(contents.systems, contents.of, strict=True):
        print(clean(f"  {system.label}: {_counted(system, contents.dataset, folder)}"))
    print(clean(f"check it, then run: pixvox run {out} --dry-run"))
    return 0
