"""Speech that is there already: a folder of audio files, or a file of EnCodec units."""

import csv
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.audio import SpeechError
from bench.datasets.types import Item, inside, text_lines
from bench.errors import UserError
from bench.rows import Spoken, packed
from bench.systems.specs import UnitsSpec, WavsSpec
from bench.systems.types import EachItem, Variant


def wav_files(spec: WavsSpec, items: Iterable[Item]) -> dict[str, str]:
    """Item id → the file's name below the folder, whether or not it is there.

    Raises UserError for a folder or mapping that cannot be used, or a name that leads outside.
    """
    if not spec.folder.is_dir():
        raise UserError(f"{spec.folder}: no such folder; {spec.label} needs its audio files")
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
    return names


def _named(spec: WavsSpec, item: Item) -> str:
    return spec.file.replace("{id}", item.id).replace("{stem}", item.image.stem)


def _mapping(path: Path) -> dict[str, str]:
    rows = csv.DictReader(text_lines(path))
    if not {"item", "file"} <= set(rows.fieldnames or ()):
        raise UserError(f"{path}: the first line must name the columns item and file")
    names: dict[str, str] = {}
    for row in rows:
        if row["item"] in names:
            raise UserError(f"{path}:{rows.line_num}: {row['item']} is there twice; remove one")
        if not row["file"]:
            raise UserError(f"{path}:{rows.line_num}: {row['item']} has no file; name one")
        names[row["item"]] = row["file"]
    return names


def wavs_digest(spec: WavsSpec, items: Iterable[Item]) -> str:
    """A digest of which file is whose, and of every file's bytes; 16 hex digits."""
    state = hashlib.sha256()
    for name, file in wav_files(spec, items).items():
        path = spec.folder / file
        state.update(f"{name}\0{file}\0".encode())
        state.update(hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b"missing")
    return state.hexdigest()[:16]


class WavsSpeaker(EachItem):
    """Names the file of each item; listeners read it where it lies."""

    def __init__(self, spec: WavsSpec) -> None:
        self.spec = spec

    def one(self, item: Item, variant: Variant) -> Spoken:
        """A row with the file's name."""
        name = wav_files(self.spec, [item]).get(item.id)
        if name is None:
            raise SpeechError("the mapping has no line for it")
        if not (self.spec.folder / name).is_file():
            raise SpeechError(f"{name}: no such file")
        return Spoken(item.id, "ok", file=name)


def read_units(spec: UnitsSpec) -> pl.DataFrame:
    """The file's columns `item` and `units`; raises UserError where it cannot be used."""
    try:
        table = pl.read_parquet(spec.file, columns=["item", "units"])
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{spec.file}: not a Parquet file of item and units ({reason})") from error
    if table["item"].is_duplicated().any():
        twice = table.filter(table["item"].is_duplicated())["item"][0]
        raise UserError(f"{spec.file}: {twice} is there twice; remove one")
    return table


class UnitsSpeaker(EachItem):
    """Gives the units that the file has."""

    def __init__(self, spec: UnitsSpec) -> None:
        table = read_units(spec)
        self.units: dict[str, Any] = dict(zip(table["item"], table["units"].to_list(), strict=True))

    def one(self, item: Item, variant: Variant) -> Spoken:
        """A row of the file's units; whether they fit the codec shows when they are decoded."""
        if item.id not in self.units:
            raise SpeechError("the file has no units for it")
        try:
            units = np.asarray(self.units[item.id], dtype=np.int64)
        except (ValueError, TypeError) as error:
            raise SpeechError("its units are not K lists of N integers") from error
        if units.ndim != 2 or units.size == 0 or np.abs(units).max() > np.iinfo(np.int16).max:
            raise SpeechError(f"its units are of shape {units.shape}; K lists of N are wanted")
        return Spoken(item.id, "ok", units=packed(units), codebooks=units.shape[0])
