"""The items whose score fell most, with transcripts and speech, before and now."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bench.gate.golden import Golden
from bench.jobs.cells import Cell
from bench.metrics.base import CorpusMetric
from bench.metrics.counted import leading

WORST = 3


@dataclass(frozen=True)
class Worst:
    """One item of a cell whose own score fell, and the transcripts of both versions."""

    cell: str
    item: str
    before: str
    now: str


def worst_items(
    golden: Golden, head: Golden, known: Sequence[CorpusMetric], count: int = WORST
) -> list[Worst]:
    """Returns the items whose leading score fell most; `known` are the job's metrics."""
    fallen: list[tuple[float, Worst]] = []
    for cell in head.signatures:
        items = head.rows.filter(cell=cell)["item"].to_list()
        both = golden.cell(cell, items).join(head.cell(cell, items), on="item", suffix="_now")
        if both.is_empty():
            continue
        before = golden.counted(both, cell, known)
        after = golden.counted(both.select(values=pl.col("values_now")), cell, known)
        score = leading(before.scores).name
        own, now = before.each()[score], after.each()[score]
        names = both.select("item", "transcript", "transcript_now").iter_rows()
        for was, becomes, (item, then, transcribed) in zip(own, now, names, strict=True):
            if becomes < was:
                fallen.append(
                    (float(becomes - was), Worst(cell, item, then or "", transcribed or ""))
                )
    return [item for _, item in sorted(fallen, key=lambda pair: pair[0])[:count]]


def save_speech(
    worst: Sequence[Worst], golden: Golden, cells: Mapping[str, Cell], run: Path, *, out: Path
) -> list[tuple[str, str]]:
    """Writes the items' speech below `out`; returns the two names of each, "" if there is none.

    The run's speech is in its folder; that of the golden's version is decoded from stored units.
    """
    names = []
    (out / "audio").mkdir(parents=True, exist_ok=True)
    for number, entry in enumerate(worst, 1):
        before, now = (f"audio/{number}-{when}.wav" for when in ("before", "now"))
        generated = run / "speech" / cells[entry.cell].slug / f"{entry.item}.wav"
        if generated.exists():
            shutil.copyfile(generated, out / now)
        has_units = _decoded(golden, entry, cells[entry.cell], out / before)
        names.append((before if has_units else "", now if generated.exists() else ""))
    return names


def _decoded(golden: Golden, entry: Worst, cell: Cell, path: Path) -> bool:
    """Writes a golden's units of an item as speech; returns False if the golden has none."""
    import soundfile

    from bench.datasets.base import Item
    from bench.store.rows import SpeechRow, ToTranscribe
    from bench.systems.voice import Voice

    row = golden.cell(entry.cell, [entry.item]).row(0, named=True)
    # Another codec would decode other sounds from the same units.
    if not row["units"] or golden.signatures[entry.cell].codec != cell.codec:
        return False
    generated = SpeechRow(
        item=entry.item, status="ok", units=row["units"], codebooks=row["codebooks"]
    )
    waiting = ToTranscribe(row=generated, item=Item(entry.item, Path(), ()))
    wave, rate = Voice().speech(cell.system, waiting)
    soundfile.write(path, wave, rate)
    return True
