"""Units that any system over an EnCodec has generated, in a Parquet file."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from bench.common.audio import SpeechError
from bench.common.bounds import MAX_SPEECH_SECONDS, Bandwidth, Label, Note
from bench.common.errors import UserError
from bench.common.yamlfile import FilePath, WeightsName
from bench.datasets.base import Dataset, Item
from bench.store.rows import SpeechRow, packed
from bench.systems.base import (
    Content,
    EachItem,
    Generator,
    Lookup,
    System,
    Variant,
    no_file,
    unmatched_names,
)
from pixvox.digests import file_digest

if TYPE_CHECKING:
    from pixvox.codec.facts import CodecFacts


class UnitsSystem(System):
    """A Parquet file of EnCodec units: `item`, and `units`, K lists of N integers each."""

    kind: Literal["units"]
    label: Label
    file: FilePath
    """The Parquet file: `item`, and `units`, K lists of N whole numbers."""
    codec: WeightsName
    """The codec, by a path, `zoo:NAME`, a hub id or `encodec:24khz`."""
    bandwidth: Bandwidth
    """The codec's bandwidth in kbps, which decides how many codebooks it has."""
    training: Note = "unknown"
    """The entry in the tables' column `training`, such as `single model`."""

    def generator(self, device: str) -> Generator:
        return UnitsGenerator(self)

    def content(self, lookup: Lookup) -> Content:
        codec = lookup.codec(self.codec, self.bandwidth).digest
        if not self.file.is_file():
            raise no_file(self.file, self.label, "units")
        read_units(self)
        units = file_digest(self.file)[:16]
        # The bandwidth decides how many codebooks an item needs, and so which items fail.
        depends = {"kind": "units", "units": units, "codec": codec, "bandwidth": self.bandwidth}
        return Content(depends=depends, codec=codec)

    def unmatched(self, items: Sequence[Item], whole: Dataset) -> Iterable[str]:
        names = dict.fromkeys(read_units(self)["item"])
        return unmatched_names(names, items, whole, of=self.file, entries="rows")

    def whole_files(self) -> Sequence[Path]:
        return (self.file,)

    def described(self) -> list[str]:
        return [f"{self.bandwidth:g} kbps"]

    def codec_of(self) -> tuple[str, float] | None:
        return self.codec, self.bandwidth


def read_units(spec: UnitsSystem) -> pl.DataFrame:
    """Returns the file's columns `item` and `units`; raises UserError if it is not such a file."""
    wanted = f"{spec.file}: not a Parquet file of item and units"
    try:
        table = pl.read_parquet(spec.file, columns=["item", "units"], use_pyarrow=False)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{wanted} ({reason})") from error
    if table.schema["item"] != pl.String:
        raise UserError(f"{wanted}: item is {table.schema['item']}, not text")
    if not isinstance(table.schema["units"], pl.List | pl.Array):
        raise UserError(f"{wanted}: units are {table.schema['units']!s:.80}, not lists of lists")
    if table["item"].is_duplicated().any():
        twice = table.filter(table["item"].is_duplicated())["item"][0]
        raise UserError(f"{spec.file}: {twice} occurs twice; remove one")
    return table


def checked_units(given: Any, facts: "CodecFacts") -> "np.ndarray[Any, np.dtype[np.int16]]":
    """Returns lists of lists as units `[K, N]` of a codec; raises SpeechError for anything else.

    Units are checked before any conversion could change one silently: whole numbers from 0 to the
    codebook size minus 1, as many lists as codebooks, all of one length.
    """
    if not isinstance(given, list) or not all(isinstance(row, list) for row in given):
        raise SpeechError("its units are not K lists of N whole numbers")
    if len(given) != facts.codebooks:
        raise SpeechError(f"{len(given)} lists of units; this codec has {facts.codebooks}")
    lengths = {len(row) for row in given}
    if len(lengths) != 1:
        raise SpeechError(
            f"lists of {min(lengths)} to {max(lengths)} units; all must have one length"
        )
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
        raise SpeechError(f"a unit is {str(odd)[:40]}, but units are whole numbers")
    if min(flat) < 0 or max(flat) >= facts.codebook_size:
        raise SpeechError(
            f"units from {min(flat)} to {max(flat)}; this codec's run from 0 to "
            f"{facts.codebook_size - 1}"
        )
    return np.array(given, dtype=np.int16)


class UnitsGenerator(EachItem):
    """Returns the units in the file."""

    def __init__(self, spec: UnitsSystem) -> None:
        from pixvox.codec.facts import codec_facts

        table = read_units(spec)
        self.units = dict(zip(table["item"], table["units"], strict=True))
        self.facts = codec_facts(spec.codec, spec.bandwidth)

    def generate_item(self, item: Item, variant: Variant) -> SpeechRow:
        """Returns a row with the file's units."""
        given = self.units.get(item.id)
        if given is None:
            raise SpeechError("the file has no units for this item")
        units = checked_units(given.to_list(), self.facts)
        return SpeechRow(item=item.id, status="ok", units=packed(units), codebooks=units.shape[0])
