"""All tables of a run, each computed once, for reports, files and trackers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from bench.asr.base import Asr, names_of
from bench.datasets.base import Dataset
from bench.jobs.grid import Grid
from bench.jobs.spec import Job
from bench.jobs.tables import table_of
from bench.scoring.scorer import CellScores
from bench.tables.audit import audited, summary, survival
from bench.tables.comparison import comparison
from bench.tables.failures import failures
from bench.tables.items import items_frame
from bench.tables.points import choices, points
from bench.tables.pooling import Row, pooled
from bench.tables.protocol import Protocol
from bench.tables.readings import (
    ScoredReading,
    Transcribed,
    score_normalisers,
    score_readings,
)
from bench.tables.summary import summary_of
from bench.tables.sweep import pivot, sensitivity, tidy, varied
from bench.tables.testing import SIGNIFICANT, PairTests, tested_rows, tests_frame
from bench.tables.waterfall import waterfall_frame


@dataclass(frozen=True, kw_only=True)
class ComparisonTable:
    """A table that a job asks for, with one set of references.

    `file` is the name of its files; `rows` are its measured rows.
    """

    table: str
    file: str
    protocol: Protocol
    rows: tuple[Row, ...]
    frame: pl.DataFrame


@dataclass(frozen=True, kw_only=True)
class RunTables:
    """Every table of a run as a frame; None for a table that the job does not have.

    `readings` are the scores with each set of references, the job's own first, and `competing` the
    ranked rows of the first. `asr` is the name of the job's own ASR in tables, and `normaliser` its
    own normaliser. The columns of every frame are declared in the module that computes it.
    """

    job: Job
    asr: str
    normaliser: str
    readings: tuple[ScoredReading, ...]
    competing: tuple[Row, ...]
    summary: dict[str, Any]
    items: pl.DataFrame
    scores: pl.DataFrame
    comparisons: tuple[ComparisonTable, ...]
    failures: pl.DataFrame | None
    waterfall: pl.DataFrame | None
    tests: pl.DataFrame | None
    audit_items: pl.DataFrame | None
    audit: pl.DataFrame | None
    audit_tests: pl.DataFrame | None
    sensitivity: pl.DataFrame | None
    sweep: pl.DataFrame | None
    points: pl.DataFrame | None


def compute_tables(transcribed: Transcribed) -> RunTables:
    """Scores all cells and computes every table of the job."""
    readings = score_readings(transcribed)
    return tables_of(transcribed.job, transcribed.dataset, readings, score_normalisers(transcribed))


def tables_of(
    job: Job,
    dataset: Dataset,
    readings: Sequence[ScoredReading],
    renormalised: Sequence[CellScores],
) -> RunTables:
    """Returns every table of the job, from its readings and its cells under further normalisers."""
    own, resampling = readings[0], job.scoring.resampling
    names = names_of(job.asrs)
    asr, normaliser = names[job.asrs[0]], job.scoring.normalisers[0]
    tests = PairTests(resampling)
    tested = tested_rows(own.rows, tests)
    differences = tests_frame(tested, tests)
    comparisons = [
        table
        for reading in readings
        for table in _comparisons(job, reading, tests if reading is own else PairTests(resampling))
    ]
    tidied = tidy(own.scores)
    everything = pl.concat([tidied, tidy(renormalised)])
    audit = audited(own.scores, job.asrs)
    repeated = None
    if not audit.is_empty():
        repeated = _filled(_audit_tests(job, own.scores, differences, names))
    sweep_points = points(tested.competing, tested.marks)
    sensitive = None
    if len(job.asrs) > 1 or renormalised:
        cells = [cell_scores.cell for cell_scores in (*own.scores, *renormalised)]
        sensitive = sensitivity(everything, cells, asr=asr, normaliser=normaliser)
    return RunTables(
        job=job,
        asr=asr,
        normaliser=normaliser,
        readings=tuple(readings),
        competing=tuple(tested.competing),
        summary=summary_of(job, own.protocol, own.rows, own.scores),
        items=items_frame(own.scores, dataset),
        scores=everything,
        comparisons=tuple(comparisons),
        failures=_filled(failures(own.rows)),
        waterfall=_filled(waterfall_frame([fall for r in readings for fall in r.falls])),
        tests=_filled(differences),
        audit_items=_filled(audit),
        audit=_filled(summary(audit)),
        audit_tests=repeated,
        sensitivity=sensitive,
        sweep=pivot(tidied) if job.grid != Grid() and varied(tidied) else None,
        points=sweep_points if choices(sweep_points) else None,
    )


def _filled(frame: pl.DataFrame) -> pl.DataFrame | None:
    return None if frame.is_empty() else frame


def _comparisons(job: Job, reading: ScoredReading, tests: PairTests) -> Iterator[ComparisonTable]:
    """Yields the job's worthwhile tables; a further reading's name is part of the table's."""
    references = reading.protocol.references
    ending = "" if references == job.scoring.readings[0] else f"-{references}"
    for name in job.tables:
        frame = comparison(
            reading.rows,
            name,
            reading.protocol,
            asr=job.asrs[0].label,
            run=job.name,
            tests=tests,
            above_chance=reading.above_chance,
        )
        if not frame.is_empty():
            yield ComparisonTable(
                table=name,
                file=name + ending,
                protocol=reading.protocol,
                rows=tuple(row for row in reading.rows if table_of(name).belongs(row.cell)),
                frame=frame,
            )


def _audit_tests(
    job: Job, scores: Sequence[CellScores], tests: pl.DataFrame, names: Mapping[Asr, str]
) -> pl.DataFrame:
    """Returns the tests repeated for the transcripts of every further ASR."""
    resampling, further = job.scoring.resampling, []
    for other in job.asrs[1:]:
        of_asr = [cell_scores for cell_scores in scores if cell_scores.cell.asr == other]
        pairs = PairTests(resampling)
        tested = tested_rows(pooled(of_asr, resampling), pairs)
        further.append((names[other], tests_frame(tested, pairs)))
    return survival(tests, further, names[job.asrs[0]], SIGNIFICANT)
