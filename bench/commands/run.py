"""`pixvox run`: runs a job file, and writes tables, rows and speech."""

import shlex
import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bench.commands.arguments import (
    add_address,
    add_job,
    add_limit,
    add_publish,
    add_runs,
    job_file,
)
from bench.commands.dry_run import show_plan
from bench.commands.options import Parser
from bench.common.atomic import disk_errors
from bench.common.errors import RunFailed, UserError
from bench.common.jobfile import JobFile
from bench.common.links import refuse_links
from bench.common.progress import duration, progress
from bench.common.text import clean, plural, reason_of
from bench.execution.cluster import refuse_submitted
from bench.execution.prepare import (
    OpenRun,
    ResolvedJob,
    complete_run,
    open_run,
    read_run,
    resolve_job,
)
from bench.execution.rates import Took, keep_rate, read_rates
from bench.execution.speech import lost_speech, restore
from bench.execution.stages import Pace
from bench.jobs.cells import Cell
from bench.jobs.preflight import missing_files, short_limits, unmatched
from bench.jobs.spec import Job
from bench.report.results import print_results, write_results
from bench.report.speed import write_speed
from bench.report.tracked import evaluation_of
from bench.scoring.scorer import CellScores
from bench.store.costs import read_costs
from bench.store.ledger import Ledger
from bench.store.publish import check_address, publish
from bench.tables.readings import Transcribed
from bench.tables.results import RunTables, compute_tables
from bench.tables.speed import speed_frame
from bench.tracking.base import TRACKING, Tracker


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of the command."""
    parser.lists_plugins = True
    add_job(parser, "a job file, such as jobs/demo.yaml")
    add_limit(parser)
    add_runs(parser)
    parser.add_argument("--dry-run", action="store_true", help="only print what there is to do")
    parser.add_argument("--verbose", action="store_true", help="print how busy each stage was")
    add_address(parser)
    add_publish(parser)


def run(args: Namespace) -> int:
    """Runs the job; returns 0 if all rows are there."""
    options = RunOptions(
        runs=args.runs,
        address=args.address,
        dry=args.dry_run,
        verbose=args.verbose,
        publish_to=args.publish,
    )
    return run_job(job_file(args), options)


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a job is run: the folder `runs`, and the address of a Ray cluster, if one is named.

    With `score_only`, transcripts are scored again without models. With `dry`, the plan is printed
    and nothing is done. With `verbose`, the utilisation of each stage is printed. Results are
    copied to the fsspec address `publish_to`.
    """

    runs: Path
    address: str | None = None
    score_only: bool = False
    dry: bool = False
    verbose: bool = False
    publish_to: str | None = None


def run_job(file: JobFile, options: RunOptions) -> int:
    """Runs a job for the rows that its ledger lacks; returns 0 if all rows are there.

    Raises UserError as `open_run` does, and for rows missing in `score_only`; raises RunFailed,
    after all else is done, if a system has no good row.
    """
    started = time.monotonic()
    runs = options.runs
    refuse_submitted(runs, "--runs")
    if options.publish_to is not None:
        # Checked before hours of work.
        check_address(options.publish_to)
    tracker = file.read(Job).tracker
    if tracker is not None:
        tracker.check()
    if options.dry:
        with disk_errors(runs):
            print_plan(resolve_job(file, runs), runs)
        return 0
    with open_run(file, runs) as ready:
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
            by = " and ".join(map(str, ready.state.metrics))
            raise UserError(
                f"{file.path}: {ready.state.unmeasured} values are not measured yet by {by}; run "
                f"first: pixvox run {file.words}"
            )
        pace = complete_run(ready, options.address)
        transcripts = [(cell, ready.state.transcripts(cell)) for cell in ready.cells]
        tables = _report(ready, transcripts)
        scores = tables.readings[0].scores
        failed = sum(cell_scores.failed for cell_scores in scores)
        seconds = time.monotonic() - started
        _print_end(ready, failed, seconds)
        if pace is not None:
            if not ready.state.metrics:
                # The time of texts says nothing about the ASR.
                keep_rate(runs, ready.job.name, ready.cells, Took(pace, seconds))
            if options.verbose:
                print(f"{ready.job.name}: {pace.words}{_beside(pace, seconds)}")
        if tracker is not None:
            _track(tracker, ready, tables)
        if options.publish_to is not None:
            with progress() as report:
                copied = publish(ready.folder, options.publish_to, report)
            print(
                clean(f"{options.publish_to}: {plural(copied, 'file')} of {ready.job.name} copied")
            )
        if not options.score_only:
            refuse_empty(ready.job.name, transcripts)
            refuse_unmeasured(ready.job.name, scores)
    return 0


def _print_end(ready: OpenRun, failed: int, seconds: float) -> None:
    """Prints what a run did, where its files are, and the command that shows them."""
    rows = f"{plural(ready.total, 'row')}, {failed} failed"
    print(f"{ready.job.name}: finished in {duration(seconds)}: {rows}")
    print(clean(f"files in {ready.folder}:"))
    for line in _file_lines(ready.folder):
        print(f"  {clean(line)}")
    print(clean(f"pictures and speech: pixvox report {shlex.quote(str(ready.folder))}"))


def _beside(pace: Pace, seconds: float) -> str:
    """Returns how much longer a command took than its computing, in words."""
    if not pace.alone:
        return ""
    return (
        f"; the command took {duration(seconds)}, {seconds / pace.alone:.2f} times the "
        f"{pace.alone:.0f} s that generating and transcribing take {plural(pace.cores, 'core')}"
    )


def _file_lines(folder: Path) -> Iterator[str]:
    """Yields a line for every folder of a run, with the names of its files.

    Files that differ only in their suffix are listed once: `table1.*`.
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


def print_plan(planned: ResolvedJob, runs: Path) -> None:
    """Prints what a run would do. Nothing is written or locked, so another run may be active."""
    refuse_links(planned.folder)
    ready = read_run(planned, Ledger(planned.folder / "ledger"))
    _say_missing(ready)
    show_plan(planned.job.name, planned.cells, ready.state, read_rates(runs))


def _say_missing(ready: OpenRun) -> None:
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
    """Raises RunFailed if a system has no good row, with its name and most frequent reason."""
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
    further = len({label for label, _ in lost}) - 1
    more = (
        f", nor {'has' if further == 1 else 'have'} {plural(further, 'other')}" if further else ""
    )
    tried = "; the same command tries again" if "machine" in table["cause"] else ""
    raise RunFailed(f"{name}: {label} has no good row{more}: {reason}{tried}")


def refuse_unmeasured(name: str, scores: Sequence[CellScores]) -> None:
    """Raises RunFailed if an audio metric has no value for any speech of a system."""
    for cell in scores:
        spoken = cell.items.filter(pl.col("seconds") > 0).height
        for metric, reasons in cell.unmeasured.items():
            if len(reasons) == spoken:
                label = cell.cell.label
                raise RunFailed(f"{name}: {metric} has no value of {label}: {reasons[0]}")


def _track(tracker: Tracker, ready: OpenRun, tables: RunTables) -> None:
    """Logs the tables' measured rows; prints where, or why not.

    The results are complete, so a tracker's failure does not change the exit code.
    """
    name, folder = ready.job.name, ready.folder
    evaluation = evaluation_of(tables, folder)
    try:
        place = tracker.log(evaluation, folder / TRACKING)
    except Exception as error:
        # Each library raises its own errors.
        line = (
            f"{name}: not logged to {tracker.title} ({reason_of(error)}); the results are complete "
            f"in {folder}; log them again with: pixvox rescore {ready.file.words}"
        )
        print(clean(line), file=sys.stderr)
        return
    print(clean(f"{name}: {plural(len(evaluation.rows), 'row')} logged: {place}"))


def _report(ready: OpenRun, transcripts: Sequence[tuple[Cell, pl.DataFrame]]) -> RunTables:
    """Scores everything, writes and prints the tables, and returns them."""
    job = ready.job
    with progress() as report:
        restored = restore(ready.state, {cell.name: t for cell, t in transcripts}, report)
    if restored:
        print(f"{job.name}: {restored} missing speech files written again from the ledger")
    for part, fault in ready.state.ledger.damaged.items():
        raise RunFailed(f"{part}: damaged during the run ({fault}); run the job again")
    tables = compute_tables(
        Transcribed(
            job=job,
            dataset=ready.dataset,
            facts=ready.facts,
            items=len(ready.state.items),
            cells=transcripts,
            cache=ready.folder / "cache",
        )
    )
    write_results(tables, ready.folder)
    write_speed(speed_frame(tables.readings[0].scores, read_costs(ready.folder)), ready.folder)
    print_results(tables, ready.folder)
    return tables
