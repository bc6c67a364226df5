"""Restores the missing WAV files of a run's `speech/` from its ledger.

The name of a folder is the system's label and the start of the speech key, which identifies it.
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
"""Number of rows whose speech is in memory at once."""


def restore(run: RunState, tables: Mapping[str, pl.DataFrame], report: Progress) -> int:
    """Writes the missing WAV files, as the transcriber would; returns how many.

    `tables` are the cells' transcripts by cell name. Folders of a system whose label has changed
    are renamed.
    """
    wanted: dict[str, tuple[Cell, set[str]]] = {}
    for cell in run.cells:
        if cell.asr is None or cell.source is not None or cell.part != "whole":
            continue
        # Only speech that could be decoded has a duration.
        transcribed = tables[cell.name].filter(pl.col("seconds") > 0)["item"]
        wanted.setdefault(cell.slug, (cell, set()))[1].update(transcribed)
    _rename(run.speech, [cell for cell, _ in wanted.values()])
    missing = [
        (cell, lacking)
        for slug, (cell, items) in wanted.items()
        if (lacking := items - _stored_items(run.speech / slug))
    ]
    total, written = sum(len(items) for _, items in missing), 0
    with one_thread() if missing else nullcontext():
        for cell, lacking in missing:
            for _ in _write_missing(run, cell, lacking):
                written += 1
                report("speech", written, total)
    return written


def lost_speech(run: RunState) -> Iterator[str]:
    """Yields a line for each cell with speech that must be measured and is not stored."""
    for cell in run.cells:
        if not (run.measured_keys(cell) and run.has_unfinished(cell)):
            continue
        lost = [reason for rows in _unmeasured(run, cell) for reason in _lost(run, cell, rows)]
        if lost:
            by = " and ".join(map(str, run.metrics))
            of = f"{len(lost)} of {len(run.items)} items"
            what = f"speech of {of} is not stored, so {by} cannot measure it"
            yield f"{cell.label}: {what}; first: {lost[0]}"


def _unmeasured(run: RunState, cell: Cell) -> Iterator[list[SpeechRow]]:
    """Yields rows that are transcribed and not measured, and whose speech is not in the ledger."""
    transcribed = run.transcribed[cell.transcript_key]
    for rows in run.unfinished(cell, run.generated[cell.speech_key]):
        spoken = (row for row in rows if row.status == "ok" and row.item in transcribed)
        yield [row for row in spoken if not (row.units or row.audio)]


def _lost(run: RunState, cell: Cell, rows: Sequence[SpeechRow]) -> Iterator[str]:
    """Yields the reason for each row whose speech cannot be read."""
    for row in rows:
        try:
            path = cell.system.sound_file(row, run.item(row.item, cell.system))
        except SpeechError as error:
            yield str(error)
        else:
            if path is not None and not path.is_file():
                yield f"{path.name}: no such file"


def _stored_items(folder: Path) -> set[str]:
    """Returns the items whose speech a folder has."""
    if not folder.is_dir():
        return set()
    return {path.name.removesuffix(".wav") for path in folder.iterdir()}


def _rename(speech: Path, cells: Sequence[Cell]) -> None:
    """Renames folders that have a cell's key and an old label of its system."""
    current = {cell.slug for cell in cells}
    folders = (
        [path for path in sorted(speech.iterdir()) if path.is_dir()] if speech.is_dir() else []
    )
    for cell in cells:
        own = [folder for folder in folders if folder.name.endswith(f"-{cell.speech_key[:8]}")]
        old = [folder for folder in own if folder.name not in current]
        if old and not (speech / cell.slug).exists():
            old[0].rename(speech / cell.slug)


def _write_missing(run: RunState, cell: Cell, lacking: set[str]) -> Iterator[str]:
    """Writes a cell's missing files; yields the item of each that could be written."""
    from bench.systems.voice import Voice

    voice = Voice()
    for part in run.ledger.parts("generated", cell.speech_key, GENERATED_SCHEMA):
        wanted = part.filter(pl.col("item").is_in(lacking), status="ok")
        for batch in wanted.iter_slices(_TOGETHER):
            rows = [SpeechRow(**fields) for fields in batch.iter_rows(named=True)]
            lacking.difference_update(row.item for row in rows)
            entries = [ToTranscribe(row=row, item=run.item(row.item, cell.system)) for row in rows]
            for row, sounding in zip(rows, voice.speeches(cell.system, entries), strict=True):
                if isinstance(sounding, SpeechError | UnitsError):
                    # A recorded file was removed after it had been transcribed.
                    continue
                write_wav(run.speech / cell.slug / f"{row.item}.wav", *sounding)
                yield row.item
