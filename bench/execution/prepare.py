"""Resolves a job file to data and cells, opens its run's folder, and completes the rows."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.asr.base import Asr
from bench.common.atomic import disk_errors, sweep_partials
from bench.common.errors import UserError
from bench.common.interrupt import stoppable
from bench.common.jobfile import JobFile
from bench.common.links import refuse_links
from bench.common.progress import progress
from bench.common.text import clean, plural
from bench.datasets.base import Dataset, no_items
from bench.datasets.loading import load_dataset
from bench.execution.executor import execute
from bench.execution.runstate import RunState
from bench.execution.stages import Pace, keep_pace
from bench.jobs.cells import Cell
from bench.jobs.expansion import expand
from bench.jobs.naming import words_of
from bench.jobs.preflight import check_classes, check_references
from bench.jobs.spec import Job
from bench.metrics.loading import files_of
from bench.store.costs import add_costs
from bench.store.ledger import Ledger
from bench.store.manifest import ManifestCell, read_manifest, write_manifest


@dataclass(frozen=True, kw_only=True)
class ResolvedJob:
    """A job that can be run: its dataset, cells and ASR facts, and the folder of its run.

    `limit` is the number of items that are used; None for all.
    """

    job: Job
    file: JobFile
    folder: Path
    limit: int | None
    dataset: Dataset
    cells: list[Cell]
    facts: dict[Asr, dict[str, Any]]


@dataclass(frozen=True)
class OpenRun(ResolvedJob):
    """A job that can be run, and the state of its ledger."""

    state: RunState

    @property
    def total(self) -> int:
        """The number of rows that the job asks for."""
        return len(self.state.items) * len(self.cells)


def write_run_manifest(run: OpenRun) -> None:
    """Writes `run.json`: the job, and which cell each ledger key belongs to.

    Prints a line for each cell that the run did not have before.
    """
    job, cells, folder = run.job, run.cells, run.folder
    before = read_manifest(folder)
    known = {cell.transcript_key for cell in before.cells} if before else set()
    generated = {cell.speech_key for cell in before.cells} if before else set()
    for cell in cells:
        if known and cell.transcript_key not in known:
            same = "; its speech is there already" if cell.speech_key in generated else ""
            print(f"{cell.name}: a new cell{same}")
    rows = [
        ManifestCell(
            cell=cell.slug,
            system=cell.label,
            described=words_of(cell),
            prompt=cell.prompt,
            asr=cell.asr.label if cell.asr else "",
            part=cell.part,
            speech_key=cell.speech_key,
            transcript_key=cell.transcript_key,
            measured=run.state.measured_keys(cell),
        )
        for cell in cells
    ]
    write_manifest(folder, json.loads(job.model_dump_json()), rows, run.file.changes)


def resolve_job(file: JobFile, runs: Path, limit: int | None = None) -> ResolvedJob:
    """Reads and checks a job file, its dataset and its ASRs, and expands the job to cells.

    `limit` replaces the job's own number of items. Raises UserError for a job that cannot be run.
    """
    job: Job = file.read(Job)
    path = file.path
    limit = limit if limit is not None else job.limit
    if limit is not None and limit < 1:
        raise UserError(f"{path}: limit {limit}: take at least one item")
    dataset = load_dataset(job.dataset)
    if not dataset.items:
        raise UserError(f"{path}: dataset: {no_items(dataset)}")
    check_references(dataset.items[:limit], job.caption, job.scoring.readings)
    # Without speech no ASR is needed, so none is downloaded or converted.
    speech = any(system.has_speech for system in job.systems)
    facts = {asr: asr.identified() for asr in job.asrs} if speech else {}
    cells = expand(job, dataset, list(facts.items()))
    check_classes(cells, job.scoring.metrics, files_of(dataset.items[:limit], job.caption))
    return ResolvedJob(
        job=job,
        file=file,
        folder=runs / job.name,
        limit=limit,
        dataset=dataset,
        cells=cells,
        facts=facts,
    )


def read_run(resolved: ResolvedJob, ledger: Ledger) -> OpenRun:
    """Returns a job with the state of its ledger, which is only read."""
    state = RunState(
        resolved.job,
        resolved.dataset,
        resolved.limit,
        resolved.cells,
        ledger=ledger,
        speech=resolved.folder / "speech",
    )
    return OpenRun(**vars(resolved), state=state)


@contextmanager
def open_run(file: JobFile, runs: Path, limit: int | None = None) -> Iterator[OpenRun]:
    """Opens the run of a job file; its folder is locked for this process meanwhile.

    Raises UserError for a job that cannot be run, or while another driver runs it, and RunFailed
    where the disk is full or cannot be written.
    """
    with disk_errors(runs):
        # Resolved before the folder is created, so that an invalid job leaves no empty run.
        resolved = resolve_job(file, runs, limit)
        refuse_links(resolved.folder)
        ledger = Ledger(resolved.folder / "ledger")
        with ledger.lock():
            sweep_partials(resolved.folder)
            run = read_run(resolved, ledger)
            for part, fault in ledger.damaged.items():
                print(clean(f"{part}: damaged; set aside, its rows are computed again: {fault}"))
            ledger.set_aside()
            yield run


def complete_run(run: OpenRun, address: str | None = None) -> Pace | None:
    """Generates, transcribes and measures the rows that the ledger lacks.

    `address` of a Ray cluster replaces the job's. Returns how long the rows took; None where no
    row was transcribed. Raises as `execute`.
    """
    job, dataset, state = run.job, run.dataset, run.state
    write_run_manifest(run)
    missing, unmeasured = state.missing, state.unmeasured
    cells = plural(len(run.cells), "cell")
    print(
        clean(
            f"{job.name}: {cells} × {dataset.counted(len(state.items))}; "
            f"{run.total - missing} of {run.total} rows already there"
        )
    )
    if unmeasured:
        by = " and ".join(map(str, state.metrics))
        print(clean(f"{job.name}: {plural(unmeasured, 'value')} to measure by {by}"))
    if not (missing or unmeasured):
        return None
    rows, started = state.untranscribed_rows, time.monotonic()
    first, first_rows = 0.0, 0
    with stoppable() as stop, progress() as report:

        def watched(what: str, done: int, total: int) -> None:
            nonlocal first, first_rows
            if not first and state.untranscribed_rows < rows:
                first_rows = rows - state.untranscribed_rows
                first = time.monotonic() - started
            report(what, done, total)

        try:
            stages = execute(state, watched, stop=stop, address=address)
        finally:
            add_costs(run.folder, state.costs)
    seconds = time.monotonic() - started
    if not stages or not rows:
        return None
    pace = Pace(
        rows=rows,
        seconds=round(seconds, 3),
        first=round(first, 3),
        stages=stages,
        first_rows=first_rows,
    )
    keep_pace(run.folder, pace)
    return pace
