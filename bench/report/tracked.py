"""Measured rows for trackers: scores as numbers, their protocol as text."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.common.text import clean
from bench.jobs.cells import key_of
from bench.scoring.signature import NONE
from bench.tables.pooling import Row
from bench.tables.protocol import Protocol
from bench.tables.readings import ScoredReading
from bench.tables.results import RunTables
from bench.tracking.base import Evaluation, TrackedRow

_SUFFIXES = (".md", ".csv", ".json", ".parquet", ".yaml")
"""The suffixes of the tables' files that are logged; the others have the same content."""


def evaluation_of(tables: RunTables, folder: Path) -> Evaluation:
    """Returns every measured row of every reading's tables, once, and the files of the tables."""
    rows = [row for reading in tables.readings for row in _rows(tables, reading)]
    files = sorted((folder / "tables").iterdir())
    logged = tuple(path for path in files if path.suffix in _SUFFIXES)
    return Evaluation(run=tables.job.name, rows=tuple(rows), tables=logged)


def _rows(tables: RunTables, reading: ScoredReading) -> Iterator[TrackedRow]:
    for row in reading.rows:
        if names := [table.table for table in tables.comparisons if row in table.rows]:
            about = {"run": tables.job.name, "tables": ", ".join(names)}
            yield _tracked(row, reading.protocol, about)


def _tracked(row: Row, protocol: Protocol, about: dict[str, str]) -> TrackedRow:
    prompt = f" at {row.cell.prompt:.0%}" if row.cell.prompt else ""
    keys = [cell.cell.transcript_key for cell in row.cells]
    # A row without transcripts has no scores in tables either.
    scores = row.scores if row.outcome.mark != NONE else {}
    metrics: dict[str, float] = {}
    for name, interval in scores.items():
        metrics |= {f"score/{name}": interval.score}
        metrics |= {f"low/{name}": interval.low, f"high/{name}": interval.high}
    return TrackedRow(
        key=key_of({"transcripts": keys, "references": protocol.references}),
        name=clean(f"{row.label}{prompt}, references {protocol.references}"),
        metrics=metrics,
        parameters=about | _parameters(row, protocol),
    )


def _parameters(row: Row, protocol: Protocol) -> dict[str, str]:
    """Returns the row's axes, data and signature, each as a line of text."""
    cell = row.cell
    values: dict[str, Any] = {
        "system": row.name,
        "role": cell.system.role,
        "pattern": cell.pattern,
        "prompt": cell.prompt,
        "part": cell.part,
        "seeds": len(row.cells),
        **{f"axis.{name}": value for name, value in cell.system.details().items()},
        "dataset": protocol.data,
        "split": protocol.split,
        "dataset_digest": protocol.dataset_digest,
        "images": protocol.images,
        "confidence": protocol.confidence,
        "transcript_keys": ",".join(scores.cell.transcript_key for scores in row.cells),
        **{f"signature.{name}": value for name, value in asdict(row.signature).items()},
    }
    # MLflow takes at most 6000 characters.
    return {
        name: clean(str(value))[:6000] for name, value in values.items() if value not in ("", None)
    }
