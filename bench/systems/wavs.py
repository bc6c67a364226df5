"""Speech from any system: a folder of audio files, one for each item."""

import hashlib
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, Self

from pydantic import field_validator

from bench.common.audio import SpeechError
from bench.common.bounds import Label, Note
from bench.common.errors import UserError
from bench.common.filedigests import MISSING, file_digests
from bench.common.yamlfile import FilePath, WeightsName
from bench.datasets.base import Dataset, Item, inside
from bench.datasets.csvfile import read_rows
from bench.store.rows import SpeechRow
from bench.systems.base import (
    Content,
    EachItem,
    Generator,
    Lookup,
    System,
    Variant,
    label_of,
    unmatched_names,
)

_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a")
"""Suffixes of recognised audio files; a job may name others."""


class WavsSystem(System):
    """A folder of audio files from any system, one for each item."""

    kind: Literal["wavs"]
    label: Label
    folder: FilePath
    """The folder of the audio files."""
    file: WeightsName = "{stem}.wav"
    """The name of an item's file: `{id}` stands for the item's id, `{stem}` for its image's name
    without suffix."""
    mapping: FilePath | None = None
    """A CSV file with the columns `item` and `file`, in place of `file`."""
    training: Note = "unknown"
    """The entry in the tables' column `training`, such as `single model`."""

    @field_validator("file")
    @classmethod
    def _known_places(cls, file: str) -> str:
        for name in re.findall(r"\{(\w*)\}", file):
            if name not in ("id", "stem"):
                raise ValueError(f"{{{name}}} is not a placeholder; write {{id}} or {{stem}}")
        return file

    @classmethod
    def recognised(cls, folder: Path, items: Sequence[Item]) -> Self | None:
        """Returns the folder's system, with the pattern of file names that matches most items."""
        names = {path.name for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES}
        suffixes = sorted({Path(name).suffix for name in names})
        counts: dict[str, int] = {}
        for suffix in suffixes:
            counts[f"{{stem}}{suffix}"] = sum(f"{i.image.stem}{suffix}" in names for i in items)
            counts[f"{{id}}{suffix}"] = sum(f"{i.id}{suffix}" in names for i in items)
        file = max(counts, key=lambda name: counts[name], default="")
        if not counts.get(file):
            return None
        return cls(kind="wavs", label=label_of(folder), folder=folder, file=file)

    def generator(self, device: str) -> Generator:
        return WavsGenerator(self)

    def content(self, lookup: Lookup) -> Content:
        """Raises UserError if `file` names one file for several items."""
        shared = shared_files(wav_files(self, lookup.dataset.items))
        if shared and not self.mapping:
            raise UserError(f"{self.label}: {_shared_line(shared)}; {_remedy(self.file)}")
        return Content(depends={"kind": "wavs", "files": wavs_digest(self, lookup.dataset.items)})

    def sound_file(self, row: SpeechRow, item: Item) -> Path:
        return self.folder / row.file

    def whole_files(self) -> Sequence[Path]:
        return () if self.mapping is None else (self.mapping,)

    def files(self, items: Sequence[Item]) -> Sequence[Path]:
        return [self.folder / name for name in wav_files(self, items).values()]

    def unmatched(self, items: Sequence[Item], whole: Dataset) -> Iterable[str]:
        files = wav_files(self, whole.items)
        if self.mapping is not None:
            names = _mapping(self.mapping)
            yield from unmatched_names(names, items, whole, of=self.mapping, entries="lines")
            if shared := shared_files(files):
                yield f"{self.mapping}: {_shared_line(shared)}"
        yield from _copies_line(self.folder, set(files.values()))


def wav_files(spec: WavsSystem, items: Iterable[Item]) -> dict[str, str]:
    """Returns, by item id, the file's name in the folder, whether or not it exists.

    Raises UserError for a folder or mapping that cannot be used, or a name outside of the folder.
    """
    listed = _mapping(spec.mapping) if spec.mapping else None
    names: dict[str, str] = {}
    for item in items:
        name = listed.get(item.id) if listed is not None else _named(spec, item)
        if name is None:
            continue
        try:
            inside(spec.folder, name)
        except ValueError as error:
            raise UserError(f"{spec.mapping or spec.label}: {item.id}: {error}") from error
        names[item.id] = name
    # An actor may get a batch without files in the folder, which is then missing there.
    if names and not spec.folder.is_dir():
        raise UserError(f"{spec.folder}: no such folder; {spec.label} needs its audio files")
    return names


def shared_files(names: Mapping[str, str]) -> dict[str, list[str]]:
    """Returns, for each file that several items name, those items; `names` are from wav_files."""
    items: dict[str, list[str]] = {}
    for item, name in names.items():
        items.setdefault(posixpath.normpath(name), []).append(item)
    return {name: sharing for name, sharing in items.items() if len(sharing) > 1}


def _shared_line(shared: Mapping[str, Sequence[str]]) -> str:
    name, items = next(iter(shared.items()))
    more = f"; so are {len(shared) - 1} other files" if len(shared) > 1 else ""
    such = ", such as" if len(items) > 2 else ":"
    return f"{name} is the speech of {len(items)} items{such} {items[0]} and {items[1]}{more}"


def _copies_line(folder: Path, names: Iterable[str]) -> Iterable[str]:
    """Yields a line if files with different names have the same bytes, including links."""
    paths = {folder / posixpath.normpath(name) for name in names}
    alike: dict[bytes, list[str]] = {}
    for path, digest in sorted(file_digests(paths).items()):
        if digest != MISSING:
            alike.setdefault(digest, []).append(path.name)
    if copies := [group for group in alike.values() if len(group) > 1]:
        first, second = copies[0][:2]
        count = sum(map(len, copies))
        line = f"{count} of {len(paths)} audio files have the content of another"
        yield f"{folder}: {line}; first: {first} and {second}"


def _remedy(file: str) -> str:
    if "{id}" in file:
        return "name a file for each in a mapping"
    named = file.replace("{stem}", "{id}") if "{stem}" in file else "{id}.wav"
    return f"write file: '{named}' and name the files so, or give a mapping"


def _named(spec: WavsSystem, item: Item) -> str:
    return spec.file.replace("{id}", item.id).replace("{stem}", item.image.stem)


def _mapping(path: Path) -> Mapping[str, str]:
    """Returns the file of each item.

    The mapping is read once in a process, because items are often looked up one at a time.
    """
    try:
        file_stat = path.stat()
    except OSError:
        # The reader raises the error.
        return _read_mapping(path, 0, 0)
    return _read_mapping(path, file_stat.st_mtime_ns, file_stat.st_size)


@lru_cache(maxsize=4)
def _read_mapping(path: Path, changed: int, size: int) -> Mapping[str, str]:
    names: dict[str, str] = {}
    for line, row in read_rows(path, ("item", "file")):
        if row["item"] in names:
            raise UserError(f"{path}:{line}: {row['item'][:80]} occurs twice; remove one")
        if not row["file"]:
            raise UserError(f"{path}:{line}: {row['item'][:80]} has no file; name one")
        names[row["item"]] = row["file"]
    return names


def wavs_digest(spec: WavsSystem, items: Iterable[Item]) -> str:
    """Returns a digest of every item's file name and bytes, 16 hex digits."""
    state = hashlib.sha256()
    named = wav_files(spec, items)
    digests = file_digests(spec.folder / file for file in named.values())
    for name, file in named.items():
        state.update(f"{name}\0{file}\0".encode() + digests[spec.folder / file])
    return state.hexdigest()[:16]


class WavsGenerator(EachItem):
    """Returns rows that name the file of each item."""

    def __init__(self, spec: WavsSystem) -> None:
        self.spec = spec

    def generate_item(self, item: Item, variant: Variant) -> SpeechRow:
        """Returns a row with the file's name."""
        try:
            name = wav_files(self.spec, [item]).get(item.id)
        except UserError as error:
            # The driver has the folder; this machine has not.
            raise SpeechError(str(error)) from error
        if name is None:
            raise SpeechError("the mapping has no line for this item")
        if not (self.spec.folder / name).is_file():
            raise SpeechError(f"{name}: no such file")
        return SpeechRow(item=item.id, status="ok", file=name)
