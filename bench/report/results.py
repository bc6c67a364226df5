"""What a run leaves beside its ledger: rows, tables, waterfall, sweep; all derived."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import polars as pl
from rich.console import Console

from bench.asr.base import Asr, names_of
from bench.common.atomic import parquet, write_bytes, write_text
from bench.common.figures import save_figure
from bench.common.resampling import Resampling
from bench.common.text import as_reason
from bench.datasets.base import Dataset
from bench.jobs.grid import Grid
from bench.jobs.spec import Job, Reading
from bench.jobs.tables import known_tables
from bench.metrics.base import ALWAYS, CorpusMetric, needs_caption
from bench.metrics.shipped import scores_of
from bench.report import files, hub, terminal
from bench.report.figures import heat_figure, sweep_figure
from bench.report.fit import full_width
from bench.report.notes import Note
from bench.report.sweeps import bests
from bench.scoring.scorer import CellScores
from bench.scoring.taxonomy import KINDS
from bench.store.columns import Column, Columns, declared, schema
from bench.store.rows import JOINED, TRANSCRIBED
from bench.tables.audit import audited, summary, survival
from bench.tables.comparison import comparison
from bench.tables.failures import failures
from bench.tables.looking import Looks
from bench.tables.points import choices, points
from bench.tables.pooling import Row, base_of, differences, pooled, ranked
from bench.tables.protocol import Protocol
from bench.tables.sweep import SHORT_TABLES, pivot, sensitivity, tidy, varied
from bench.tables.testing import SIGNIFICANT, Marked, marked
from bench.tables.waterfall import STEPS, Waterfall, waterfall_frame

TESTS: Columns = (
    Column("system", pl.String, "The system."),
    Column("against", pl.String, "The first system of its prompt, which it is compared with."),
    Column("prompt", pl.Float64, "The share of the reference speech that was given, 0 to 1."),
    Column("metric", pl.String, "The score."),
    Column("difference", pl.Float64, "Its score less the other's, in the score's unit."),
    Column("low", pl.Float64, "The lower end of the difference's confidence interval."),
    Column("high", pl.Float64, "The upper end of the difference's confidence interval."),
    Column("p_bootstrap", pl.Float64, "The paired bootstrap's p-value that there is none."),
    Column("p_permutation", pl.Float64, "The paired permutation test's p-value of the same."),
    Column("p_adjusted", pl.Float64, "That, adjusted for all systems, prompts and scores here."),
    Column("detectable", pl.Float64, "The difference that is found with a power of 80%."),
)


def row_columns(metrics: Sequence[CorpusMetric]) -> Columns:
    """Of `rows.parquet`."""
    own = scores_of([metric for metric in metrics if not needs_caption(metric)])
    return (
        *TRANSCRIBED,
        *JOINED,
        Column("tokens", pl.String, "The transcript, normalised and tokenised."),
        *(Column(s.name, pl.Float64, f"The item's own {s.name}, in {s.unit}.") for s in own),
        *(Column(kind, pl.Boolean, meaning) for kind, meaning in KINDS.items()),
        Column("system", pl.String, "The system's label."),
        Column("pattern", pl.String, "The pattern of its codebooks; empty where it has none."),
        Column("prompt", pl.Float64, "The share of the reference speech that was given, 0 to 1."),
        Column("cell", pl.String, "The cell's own name, as in `scores.parquet`."),
    )


def write_rows(folder: Path, scores: Sequence[CellScores], dataset: Dataset) -> None:
    """One Parquet of all items of all cells, with transcripts and per-item scores.

    Entries of the split that cannot be scored are rows too, failed, with their reason.
    """
    unusable = pl.DataFrame(
        [
            {"item": n, "status": "failed", "reason": as_reason(f"not scored: {r}")}
            for n, r in dataset.unusable
        ],
        schema={"item": pl.String, "status": pl.String, "reason": pl.String},
    )
    # A text has the columns of speech too, empty.
    metrics = dict.fromkeys(metric for s in scores for metric in s.counted.metrics)
    frames = [
        declared(
            pl.concat([s.items, unusable], how="diagonal").with_columns(
                system=pl.lit(s.cell.label),
                pattern=pl.lit(s.cell.pattern),
                prompt=pl.lit(s.cell.prompt),
                cell=pl.lit(s.cell.name),
            ),
            row_columns(list(metrics)),
        )
        for s in scores
    ]
    write_bytes(folder / "rows.parquet", parquet(pl.concat(frames)))


@dataclass(frozen=True, kw_only=True)
class ScoredReading:
    """A job scored under one reading of the references: its cells, and what tables have of them.

    `seen` says of systems that were trained on other data whether they look (tables.looking).
    """

    protocol: Protocol
    scores: Sequence[CellScores]
    rows: Sequence[Row]
    falls: Sequence[Waterfall]
    seen: Looks


def _summary(job: Job, own: ScoredReading) -> dict[str, Any]:
    """Every cell, and every row of the tables, in which seeds are pooled."""
    return {
        "protocol": asdict(own.protocol) | {"asr_label": job.asrs[0].label},
        "job": json.loads(job.model_dump_json()),
        "rows": [
            {
                "system": row.name,
                "role": row.cell.system.role,
                "prompt": row.cell.prompt,
                "part": row.cell.part,
                "seeds": len(row.cells),
                "cells": [found.cell.name for found in row.cells],
                "sampled": row.cell.system.sampled(),
                "scores": {name: asdict(found) for name, found in row.scores.items()},
                "n": row.asked,
                "failed": row.failed,
                "signature": asdict(row.signature),
            }
            for row in own.rows
        ],
        "cells": [
            {
                "system": s.cell.label,
                "role": s.cell.system.role,
                "pattern": s.cell.pattern,
                "prompt": s.cell.prompt,
                "part": s.cell.part,
                "asr": s.cell.asr.label if s.cell.asr else "",
                "cell": s.cell.name,
                "transcript_key": s.cell.transcript_key,
                "scores": {name: asdict(found) for name, found in s.scores.items()},
                "n": s.n,
                "failed": s.failed,
                "unended": s.unended,
                "kinds": s.kinds,
                "signature": asdict(s.signature),
            }
            for s in own.scores
        ],
    }


@dataclass(frozen=True)
class _Tested:
    """Rows that compete, and which of them differ."""

    competing: Sequence[Row]
    marks: Marked


def _tested(rows: Sequence[Row], resampling: Resampling) -> _Tested:
    competing = [row for row in rows if ranked(row)]
    return _Tested(competing, marked(competing, next(iter(competing), None), resampling))


def _tests(tested: _Tested, resampling: Resampling) -> pl.DataFrame:
    """Every system against the first of its prompt: differences, intervals, p, what can be seen."""
    rows = []
    for place, row in enumerate(tested.competing):
        base = base_of(row, tested.competing)
        if base is None or base is row:
            continue
        names = {"system": row.label, "against": base.label, "prompt": row.cell.prompt}
        changes = differences(base, row, resampling)
        for metric, p in tested.marks.different[place].items():
            facts = {"metric": metric, "p_adjusted": p}
            rows.append(names | facts | asdict(changes[metric]))
    return pl.DataFrame(rows, schema=schema(TESTS))


def _survival(
    job: Job, scores: Sequence[CellScores], tests: pl.DataFrame, names: Mapping[Asr, str]
) -> pl.DataFrame:
    """The tests again, of what every further ASR has transcribed."""
    resampling, others = job.scoring.resampling, []
    for other in job.asrs[1:]:
        of_asr = [cell_scores for cell_scores in scores if cell_scores.cell.asr == other]
        tested = _tested(pooled(of_asr, resampling), resampling)
        others.append((names[other], _tests(tested, resampling)))
    return survival(tests, others, names[job.asrs[0]], SIGNIFICANT)


def _short(frame: pl.DataFrame) -> pl.DataFrame:
    """A waterfall for a terminal: a row a model and metric, a column a step, each with its ±."""
    shown = frame.filter(SHORT_TABLES).with_columns(
        lost=pl.struct("lost", "low", "high").map_elements(
            lambda one: f"{one['lost']:z.2f} ±{(one['high'] - one['low']) / 2:.1f}",
            return_dtype=pl.String,
        )
    )
    wide = shown.pivot(on="step", index=["system", "metric", "start", "end"], values="lost")
    steps = [step for step in STEPS if step in wide.columns]
    return wide.select("system", "metric", "start", *steps, "end")


def _present(failing: pl.DataFrame) -> pl.DataFrame:
    """The kinds of failure that any row has, and the prompt share where any row has one."""
    shares = [name for name, kind in failing.schema.items() if kind == pl.Float64]
    return failing.drop(name for name in shares if not failing[name].sum())


@dataclass(frozen=True)
class _Shown:
    """A table: what prints it on a console below notes that are there already; its full width."""

    show: Callable[[Console, list[Note]], None]
    width: int


def _small(frame: pl.DataFrame, title: str) -> _Shown:
    width = full_width(terminal.frame_columns(frame))
    return _Shown(lambda console, _: terminal.show_frame(frame, title, console), width)


def _print(tables: Sequence[_Shown], title: str, path: Path) -> None:
    """Prints tables as the terminal has room, and saves a picture of all that they have."""
    picture = terminal.make_picture(max([terminal.PIPED, *(table.width for table in tables)]))
    for console in (terminal.make_console(), picture):
        printed: list[Note] = []
        for table in tables:
            table.show(console, printed)
        if not tables:
            terminal.say(console, "No system of this job belongs to the tables that it asks for.")
    terminal.save_picture(picture, title, path)


def _write_tables(job: Job, readings: Sequence[ScoredReading], folder: Path) -> Iterator[_Shown]:
    """Writes the job's tables, those of every further reading under names of their own."""
    # What an earlier job had of other readings would stand there as if it were this one's.
    for kind in known_tables().values():
        files.remove(kind.name, folder)
        for name in get_args(Reading):
            files.remove(f"{kind.name}-{name}", folder)
    for reading in readings:
        protocol = reading.protocol
        ending = "" if reading is readings[0] else f"-{protocol.references}"
        for table in job.tables:
            frame = comparison(
                reading.rows,
                table,
                protocol,
                asr=job.asrs[0].label,
                run=job.name,
                resampling=job.scoring.resampling,
                seen=reading.seen,
            )
            if frame.is_empty():
                continue
            files.write(frame, table, protocol, folder, ending)
            show = partial(terminal.show, frame, table, protocol)
            yield _Shown(show, terminal.widest(frame, table))


def _write_points(found: pl.DataFrame, folder: Path) -> Iterator[_Shown]:
    """Writes the points of a sweep and their figures, and prints which are the best."""
    names = [f"{name}.svg" for name in ("sweep", "sweep-heat")]
    for name in (*names, *(f"points.{suffix}" for suffix in ("md", "csv", "parquet"))):
        (folder / name).unlink(missing_ok=True)
    if not choices(found):
        return
    title = "The sweep's points: all seeds pooled, as in the tables"
    files.write_frame(found, "points", title, folder)
    for name, figure in zip(names, (sweep_figure(found), heat_figure(found)), strict=True):
        if figure is not None:
            save_figure(figure, folder / name)
    if choices(found) == ["prompt"]:
        # One point a prompt share: there is nothing to choose from.
        return
    said = [best.sentence for best in bests(found)]
    yield _Shown(lambda console, _: terminal.say_lines(console, said), 0)


_SMALL_TABLES = (
    *(
        "failures",
        "waterfall",
        "tests",
        "audit",
        "audit-items",
        "audit-tests",
        "sensitivity",
        "sweep",
    ),
)
"""Tables that only some jobs have."""


def write_report(
    job: Job, folder: Path, readings: Sequence[ScoredReading], others: Sequence[CellScores]
) -> None:
    """Prints the tables and writes them, and all else, below the run's folder.

    The first of the `readings` is the job's own; `others` are the cells under the job's further
    normalisers.
    """
    tables = folder / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    # Of the same run with other options, whose tables would stand there as if they were this one's.
    for name in _SMALL_TABLES:
        files.remove(name, tables)
    names, own = names_of(job.asrs), readings[0]
    asr = names[job.asrs[0]]
    scores, rows, protocol = own.scores, own.rows, own.protocol
    shown = list(_write_tables(job, readings, tables))
    failing = failures(rows)
    if not failing.is_empty():
        title = "How speech fails: shares of each system's items, in percent"
        shown.append(_small(_present(failing), title))
        files.write_frame(failing, "failures", title, tables)
    falls = waterfall_frame([fall for reading in readings for fall in reading.falls])
    if not falls.is_empty():
        title = "Where points are lost, from a caption as text to the model; below 0 they are won"
        shown.append(_small(_short(falls), title))
        files.write_frame(falls.drop("kept"), "waterfall", title, tables)
    tested = _tested(rows, job.scoring.resampling)
    tests = _tests(tested, job.scoring.resampling)
    if not tests.is_empty():
        files.write_frame(tests, "tests", "Every system against the first of its prompt", tables)
    sweep = tidy(scores)
    everything = pl.concat([sweep, tidy(others)])
    write_bytes(folder / "scores.parquet", parquet(everything))
    audit = audited(scores, job.asrs)
    if not audit.is_empty():
        title = f"Agreement of ASRs: the same speech transcribed by {asr} and another, in percent"
        shown.append(_small(summary(audit), title))
        files.write_frame(summary(audit), "audit", title, tables)
        write_bytes(tables / "audit-items.parquet", parquet(audit))
        stands = _survival(job, scores, tests, names)
        if not stands.is_empty():
            title = "Comparisons with the first system of the prompt share, by a second ASR"
            files.write_frame(stands, "audit-tests", title, tables)
            alike = f"{stands['survives'].sum()} of {stands.height} have the same outcome"
            line = f"{title}: {alike}."
            shown.append(_Shown(lambda console, _: terminal.say(console, line), 0))
    if len(job.asrs) > 1 or others:
        usual = (asr, job.scoring.normalisers[0])
        title = f"What depends on the ASR: beside {usual[0]}, normaliser {usual[1]}"
        cells = [one.cell for one in (*scores, *others)]
        found = sensitivity(everything, cells, asr=usual[0], normaliser=usual[1])
        some = found.filter(pl.col("kept") == ALWAYS).drop("kept")
        shown.append(_small(some, title))
        files.write_frame(found.drop("kept"), "sensitivity", title, tables)
    if job.grid != Grid() and varied(sweep):
        title = "The sweep: means of the seeds' own scores (the tables pool their items)"
        shown.append(_small(pivot(sweep), title))
        files.write_frame(pivot(sweep), "sweep", title, tables)
    shown += _write_points(points(tested.competing, tested.marks), tables)
    _print(shown, f"pixvox run {job.name}", tables / "tables.svg")
    write_text(tables / "model-index.yaml", hub.model_index(rows, protocol))
    text = json.dumps(_summary(job, own), indent=1)
    write_text(folder / "summary.json", text + "\n")
