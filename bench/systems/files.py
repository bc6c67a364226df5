"""Speech that is there already: a folder of audio files, or a file of EnCodec units."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from bench.audio import SpeechError
from bench.bounds import MAX_SPEECH_SECONDS
from bench.datasets.csvfile import read_rows
from bench.datasets.types import Item, inside
from bench.errors import UserError
from bench.rows import Spoken, packed
from bench.systems.specs import UnitsSpec, WavsSpec
from bench.systems.types import EachItem, Variant

if TYPE_CHECKING:
    from pixvox.codec import CodecFacts


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
    names: dict[str, str] = {}
    for line, row in read_rows(path, ("item", "file")):
        if row["item"] in names:
            raise UserError(f"{path}:{line}: {row['item'][:80]} is there twice; remove one")
        if not row["file"]:
            raise UserError(f"{path}:{line}: {row['item'][:80]} has no file; name one")
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
    wanted = f"{spec.file}: not a Parquet file of item and units"
    try:
        table = pl.read_parquet(spec.file, columns=["item", "units"], use_pyarrow=False)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{wanted} ({reason})") from error
    if table.schema["item"] != pl.String:
        raise UserError(f"{wanted}: item is {table.schema['item']}, and text is wanted")
    if not isinstance(table.schema["units"], pl.List | pl.Array):
        raise UserError(f"{wanted}: units are {table.schema['units']!s:.80}, not lists of lists")
    if table["item"].is_duplicated().any():
        twice = table.filter(table["item"].is_duplicated())["item"][0]
        raise UserError(f"{spec.file}: {twice} is there twice; remove one")
    return table


def checked_units(given: Any, facts: "CodecFacts") -> "np.ndarray[Any, np.dtype[np.int16]]":
    """Lists of lists as the units `[K, N]` of a codec; raises SpeechError for anything else.

    Units are checked as they were read, before any conversion could change one without a word:
    whole numbers from 0 to the codebooks' last, as many lists as codebooks, all of one length.
    """
    if not isinstance(given, list) or not all(isinstance(row, list) for row in given):
        raise SpeechError("its units are not K lists of N whole numbers")
    if len(given) != facts.codebooks:
        raise SpeechError(f"{len(given)} lists of units; this codec has {facts.codebooks}")
    lengths = {len(row) for row in given}
    if len(lengths) != 1:
        raise SpeechError(f"lists of {min(lengths)} to {max(lengths)} units; all must be as long")
    frames = lengths.pop()
    if frames == 0:
        raise SpeechError("no units at all")
    if frames > MAX_SPEECH_SECONDS * facts.frame_rate:
        raise SpeechError(
            f"{frames} frames are {frames / facts.frame_rate:.1f} s; the ASR takes "
            f"{MAX_SPEECH_SECONDS:.0f} s"
        )
    flat = [unit for row in given for unit in row]
    odd = next((u for u in flat if isinstance(u, bool) or not isinstance(u, int)), 0)
    if isinstance(odd, bool) or not isinstance(odd, int):
        raise SpeechError(f"a unit is {str(odd)[:40]}, and units are whole numbers")
    if min(flat) < 0 or max(flat) >= facts.codebook_size:
        raise SpeechError(
            f"units from {min(flat)} to {max(flat)}; this codec's run from 0 to "
            f"{facts.codebook_size - 1}"
        )
    return np.array(given, dtype=np.int16)


class UnitsSpeaker(EachItem):
    """Gives the units that the file has."""

    def __init__(self, spec: UnitsSpec) -> None:
        from pixvox.codec import codec_facts

        table = read_units(spec)
        self.units = dict(zip(table["item"], table["units"], strict=True))
        self.facts = codec_facts(spec.codec, spec.bandwidth)

    def one(self, item: Item, variant: Variant) -> Spoken:
        """A row of the file's units."""
        given = self.units.get(item.id)
        if given is None:
            raise SpeechError("the file has no units for it")
        units = checked_units(given.to_list(), self.facts)
        return Spoken(item.id, "ok", units=packed(units), codebooks=units.shape[0])
