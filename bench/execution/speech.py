"""A run's `speech/`: derived from its ledger, and made whole again from it.

A folder's name begins with a label for people and ends with the key that it is found by.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import polars as pl

from bench.common.audio import SpeechError, write_wav
from bench.common.progress import Progress
from bench.common.threads import one_thread
from bench.execution.runstate import RunState
from bench.jobs.cells import Cell
from bench.store.rows import GENERATED_SCHEMA, SpeechRow, ToTranscribe
from pixvox.errors import UnitsError

_TOGETHER = 32
"""Rows whose speech is in memory at once."""


def restore(run: RunState, tables: Mapping[str, pl.DataFrame], report: Progress) -> int:
    """Makes the WAV files that are missing, as the transcriber made them; gives how many.

    `tables` are the cells' transcripts by cell name. Folders of a system whose label changed get
    its new name.
    """
    wanted: dict[str, tuple[Cell, set[str]]] = {}
    for cell in run.cells:
        if cell.asr is None or cell.source is not None or cell.part != "whole":
            continue
        # Only what could be decoded has a length.
        transcribed = tables[cell.name].filter(pl.col("seconds") > 0)["item"]
        wanted.setdefault(cell.slug, (cell, set()))[1].update(transcribed)
    _rename(run.speech, [cell for cell, _ in wanted.values()])
    missing = [
        (cell, lacking)
        for slug, (cell, items) in wanted.items()
        if (lacking := items - _there(run.speech / slug))
    ]
    total, made = sum(len(items) for _, items in missing), 0
    with one_thread() if missing else nullcontext():
        for cell, lacking in missing:
            for _ in _made(run, cell, lacking):
                made += 1
                report("speech", made, total)
    return made


def lost_speech(run: RunState) -> Iterator[str]:
    """A line for each cell whose speech audio metrics are to measure, and which is not stored."""
    for cell in run.cells:
        if not (run.measured_keys(cell) and run.has_unfinished(cell)):
            continue
        lost = [reason for rows in _unmeasured(run, cell) for reason in _lost(run, cell, rows)]
        if lost:
            by = " and ".join(run.metrics)
            of = f"{len(lost)} of {len(run.items)} items"
            what = f"speech of {of} is not stored, so {by} cannot measure it"
            yield f"{cell.label}: {what}; first: {lost[0]}"


def _unmeasured(run: RunState, cell: Cell) -> Iterator[list[SpeechRow]]:
    """Rows of speech that is transcribed and not measured, and that the ledger does not hold."""
    transcribed = run.transcribed[cell.transcript_key]
    for rows in run.unfinished(cell, run.generated[cell.speech_key]):
        spoken = (row for row in rows if row.status == "ok" and row.item in transcribed)
        yield [row for row in spoken if not (row.units or row.audio)]


def _lost(run: RunState, cell: Cell, rows: Sequence[SpeechRow]) -> Iterator[str]:
    """Why the speech of rows cannot be read, of each of which it cannot."""
    for row in rows:
        try:
            path = cell.system.sound_file(row, run.item(row.item, cell.system))
        except SpeechError as error:
            yield str(error)
        else:
            if path is not None and not path.is_file():
                yield f"{path.name}: no such file"


def _there(folder: Path) -> set[str]:
    """The items whose speech a folder has."""
    if not folder.is_dir():
        return set()
    return {path.name.removesuffix(".wav") for path in folder.iterdir()}


def _rename(speech: Path, cells: Sequence[Cell]) -> None:
    """Gives folders that only their label keeps from being a cell's the cell's name."""
    taken = {cell.slug for cell in cells}
    others = sorted(speech.iterdir()) if speech.is_dir() else []
    for cell in cells:
        own = [one for one in others if one.name.endswith(f"-{cell.speech_key[:8]}")]
        spare = [one for one in own if one.name not in taken and one.is_dir()]
        if spare and not (speech / cell.slug).exists():
            spare[0].rename(speech / cell.slug)


def _made(run: RunState, cell: Cell, lacking: set[str]) -> Iterator[str]:
    """Writes a cell's missing files, where what they are made of is still there."""
    from bench.systems.voice import Voice

    voice = Voice()
    for part in run.ledger.parts("generated", cell.speech_key, GENERATED_SCHEMA):
        wanted = part.filter(pl.col("item").is_in(lacking), status="ok")
        for batch in wanted.iter_slices(_TOGETHER):
            rows = [SpeechRow(**fields) for fields in batch.iter_rows(named=True)]
            lacking.difference_update(row.item for row in rows)
            entries = [ToTranscribe(row, run.item(row.item, cell.system)) for row in rows]
            for row, sounding in zip(rows, voice.speeches(cell.system, entries), strict=True):
                if isinstance(sounding, SpeechError | UnitsError):
                    # A file of the dataset or of a folder of wavs that has gone since it was
                    # transcribed.
                    continue
                write_wav(run.speech / cell.slug / f"{row.item}.wav", *sounding)
                yield row.item
