"""`pixvox run`: a job file in, tables, rows and speech out."""

import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import polars as pl

from bench.commands.dry_run import show_plan
from bench.common.atomic import disk_errors
from bench.common.errors import RunFailed, UserError
from bench.common.jobfile import JobFile
from bench.common.links import refuse_links
from bench.common.progress import duration, progress
from bench.common.text import clean, plural, reason_of
from bench.execution.cluster import refuse_submitted
from bench.execution.prepare import Planned, Prepared, complete, opened, planned_job, with_rows
from bench.execution.rates import Took, keep_rate, read_rates
from bench.execution.speech import lost_speech, restore
from bench.execution.stages import Pace
from bench.jobs.cells import Cell
from bench.jobs.preflight import missing_files, short_limits, unmatched
from bench.jobs.spec import Job, ScoringSpec
from bench.metrics.shipped import METRICS, scores_of
from bench.report.results import ScoredReading, write_report, write_rows
from bench.report.speed import write_speed
from bench.report.tracked import evaluation_of
from bench.scoring.scorer import CellScores, Scorer
from bench.store.ledger import Ledger
from bench.store.publish import check_address, publish
from bench.tables.looking import looks
from bench.tables.pooling import pooled
from bench.tables.protocol import Protocol
from bench.tables.waterfall import waterfalls
from bench.tracking.base import TRACKING, Tracker

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a job is run: under `runs/NAME`, and on the Ray cluster at `address`, if one is named.

    With `score_only` no model is loaded: what was transcribed is scored again. With `dry` nothing
    is done but said. With `verbose` the end says how busy each stage was. What was made is copied
    to the fsspec address `publish_to`.
    """

    runs: Path
    address: str | None = None
    score_only: bool = False
    dry: bool = False
    verbose: bool = False
    publish_to: str | None = None


def run_job(file: JobFile, options: RunOptions) -> int:
    """Runs a job, doing only what its ledger lacks; 0 when all rows are there.

    Raises UserError as `opened` does, and for rows that are not there to score; and RunFailed,
    after all else is done, where a system has no good row.
    """
    started = time.monotonic()
    runs = options.runs
    refuse_submitted(runs, "--runs")
    if options.publish_to is not None:
        # Before hours are spent.
        check_address(options.publish_to)
    tracker = file.read(Job).tracker
    if tracker is not None:
        tracker.check()
    if options.dry:
        with disk_errors(runs):
            print_plan(planned_job(file, runs), runs)
        return 0
    with opened(file, runs) as ready:
        if file.changes:
            print(clean(f"{ready.job.name}: {file.path} with {' '.join(file.changes)}"))
        _say_missing(ready)
        missing = ready.state.missing
        if missing and options.score_only:
            raise UserError(
                f"{file.path}: {missing} rows are not transcribed yet; run first: "
                f"pixvox run {file.words}"
            )
        if options.score_only and ready.state.unmeasured:
            by = " and ".join(ready.state.metrics)
            raise UserError(
                f"{file.path}: {ready.state.unmeasured} values are not measured yet by {by}; run "
                f"first: pixvox run {file.words}"
            )
        pace = complete(ready, options.address)
        tables = [(cell, ready.state.transcripts(cell)) for cell in ready.cells]
        readings = _report(ready, tables)
        failed = sum(scores.failed for scores in readings[0].scores)
        seconds = time.monotonic() - started
        _print_end(ready, failed, seconds)
        if pace is not None:
            if not ready.state.metrics:
                # Their time is none of the ASR's.
                keep_rate(runs, ready.job.name, ready.cells, Took(pace, seconds))
            if options.verbose:
                print(f"{ready.job.name}: {pace.words}{_beside(pace, seconds)}")
        if tracker is not None:
            _track(tracker, ready, readings)
        if options.publish_to is not None:
            with progress() as report:
                copied = publish(ready.folder, options.publish_to, report)
            print(
                clean(f"{options.publish_to}: {plural(copied, 'file')} of {ready.job.name} copied")
            )
        if not options.score_only:
            refuse_empty(ready.job.name, tables)
            refuse_unmeasured(ready.job.name, readings[0].scores)
    return 0


def _print_end(ready: Prepared, failed: int, seconds: float) -> None:
    """Prints what a run did, where its files are, and which command shows them."""
    rows = f"{plural(ready.total, 'row')}, {failed} failed"
    print(f"{ready.job.name}: finished in {duration(seconds)}: {rows}")
    print(clean(f"files in {ready.folder}:"))
    for line in _file_lines(ready.folder):
        print(f"  {clean(line)}")
    print(clean(f"look and listen: pixvox report {shlex.quote(str(ready.folder))}"))


def _beside(pace: Pace, seconds: float) -> str:
    """How long a command took beside the computing that had to be done, in words."""
    if not pace.alone:
        return ""
    return (
        f"; the command took {duration(seconds)}, {seconds / pace.alone:.2f} times the "
        f"{pace.alone:.0f} s that generating and transcribing take {plural(pace.cores, 'core')}"
    )


def _file_lines(folder: Path) -> Iterator[str]:
    """Yields a line for every folder of a run, with the names of its files.

    Files that differ only in their suffix are named once: `table1.*`.
    """
    for path in (folder, *sorted(folder.iterdir())):
        if path != folder and path.name in ("ledger", "speech", "cache"):
            continue
        files = sorted(filter(Path.is_file, path.iterdir())) if path.is_dir() else []
        times = Counter(file.stem for file in files)
        names = (f"{f.stem}.*" if times[f.stem] > 1 else f.name for f in files)
        if files:
            listed = ", ".join(dict.fromkeys(names))
            yield f"{path.relative_to(folder)}: {listed}".removeprefix(".: ")
    if (folder / "speech").is_dir():
        yield "speech: a WAV file for every item that has speech"
    yield "ledger: all generated and transcribed rows; every other file is derived from it"


def print_plan(planned: Planned, runs: Path) -> None:
    """Prints what a run would do. It writes and locks nothing, so another run may be at work."""
    refuse_links(planned.folder)
    ready = with_rows(planned, Ledger(planned.folder / "ledger"))
    _say_missing(ready)
    show_plan(planned.job.name, planned.cells, ready.state, read_rates(runs))


def _say_missing(ready: Prepared) -> None:
    items, dataset = ready.state.items, ready.dataset
    for line in (
        *missing_files(items, dataset.items, ready.cells),
        *unmatched(items, dataset, ready.cells),
        *map(clean, lost_speech(ready.state)),
        *short_limits(items, ready.cells),
    ):
        print(f"{ready.job.name}: {line}")
    for name, reason in ready.dataset.unusable:
        print(clean(f"{name}: cannot be scored: {reason}"))


def refuse_empty(name: str, tables: Sequence[tuple[Cell, pl.DataFrame]]) -> None:
    """Raises RunFailed where a system has no good row; names the first, and its usual reason."""
    good = {cell.label for cell, table in tables if "ok" in table["status"]}
    lost = [
        (cell.label, table)
        for cell, table in tables
        if cell.source is None and cell.label not in good
    ]
    if not lost:
        return
    label, table = lost[0]
    reason = table["reason"].mode().sort()[0]
    others = len({label for label, _ in lost}) - 1
    more = f", nor {'has' if others == 1 else 'have'} {plural(others, 'other')}" if others else ""
    tried = "; the same command tries again" if "machine" in table["cause"] else ""
    raise RunFailed(f"{name}: {label} has no good row{more}: {reason}{tried}")


def refuse_unmeasured(name: str, scores: Sequence[CellScores]) -> None:
    """Raises RunFailed where an audio metric has no value of any speech of a system."""
    for cell in scores:
        spoken = cell.items.filter(pl.col("seconds") > 0).height
        for metric, reasons in cell.unmeasured.items():
            if len(reasons) == spoken:
                label = cell.cell.label
                raise RunFailed(f"{name}: {metric} has no value of {label}: {reasons[0]}")


def _track(tracker: Tracker, ready: Prepared, readings: Sequence[ScoredReading]) -> None:
    """Logs the tables' measured rows; a line says where, or why not.

    The results are complete, so what the tracker fails of changes no exit code.
    """
    name, folder = ready.job.name, ready.folder
    evaluation = evaluation_of(ready.job, folder, readings)
    try:
        place = tracker.log(evaluation, folder / TRACKING)
    except Exception as error:
        # Each library raises errors of its own.
        line = (
            f"{name}: not logged to {tracker.title} ({reason_of(error)}); the results are complete "
            f"in {folder}; log them again with: pixvox rescore {ready.file.words}"
        )
        print(clean(line), file=sys.stderr)
        return
    print(clean(f"{name}: {plural(len(evaluation.rows), 'row')} logged: {place}"))


def _report(ready: Prepared, tables: Sequence[tuple[Cell, pl.DataFrame]]) -> list[ScoredReading]:
    """Scores and writes everything; returns the readings, the job's own first."""
    job, dataset = ready.job, ready.dataset
    with progress() as report:
        restored = restore(ready.state, {cell.name: t for cell, t in tables}, report)
    if restored:
        print(f"{job.name}: {restored} missing files of speech made again from the ledger")
    for part, fault in ready.state.ledger.damaged.items():
        raise RunFailed(f"{part}: damaged while the run was on ({fault}); run the job again")
    cache = ready.folder / "cache"

    def scored(spec: ScoringSpec, use: Callable[[Scorer, list[CellScores]], T]) -> T:
        with Scorer(dataset, spec, ready.facts, cache, job.caption) as scorer:
            return use(scorer, scorer.score_all(tables))

    readings = [
        scored(job.scoring.with_reading(name), partial(_reading, ready))
        for name in job.scoring.readings
    ]
    renormalised = [
        cell_scores
        for name in job.scoring.normalisers[1:]
        for cell_scores in scored(job.scoring.with_normaliser(name), lambda _, scores: scores)
    ]
    write_rows(ready.folder, readings[0].scores, dataset)
    write_report(job, ready.folder, readings, renormalised)
    write_speed(ready.folder, readings[0].scores)
    return readings


def _reading(ready: Prepared, scorer: Scorer, scores: Sequence[CellScores]) -> ScoredReading:
    """What the tables of one reading of the references are made of."""
    job, dataset = ready.job, ready.dataset
    protocol = Protocol(
        dataset=dataset.name,
        split=dataset.split,
        dataset_digest=dataset.digest,
        speech=dataset.speech_kind,
        items=len(ready.state.items),
        of=dataset.of,
        asr=job.asrs[0].in_words(ready.facts[job.asrs[0]]) if ready.facts else "none",
        references=scorer.spec.readings[0],
        left_out=scorer.left_out,
        normaliser=job.scoring.normalisers[0],
        confidence=job.scoring.confidence,
        unusable=len(dataset.unusable),
        standing=dataset.standing,
        legend=tuple(
            (score.head, score.name, score.unit)
            for score in scores_of(scorer.metrics)
            if score not in scores_of(METRICS)
        ),
    )
    own = [s for s in scores if s.cell.asr is None or s.cell.asr == job.asrs[0]]
    rows = pooled(own, job.scoring.resampling)
    return ScoredReading(
        protocol=protocol,
        scores=scores,
        rows=rows,
        falls=waterfalls(rows, scorer) if scorer.spec.readings[0] == "others" else [],
        seen=looks(rows, dataset.name, scorer),
    )
