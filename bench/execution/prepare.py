"""A job made ready to run, its run's folder opened, and what is missing there done."""

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
from bench.store.costs import add_costs
from bench.store.ledger import Ledger
from bench.store.manifest import ManifestCell, read_manifest, write_manifest


@dataclass(frozen=True)
class Planned:
    """A job that can be run: its data, cells and ASR models, and where its run is kept."""

    job: Job
    file: JobFile
    folder: Path
    limit: int | None
    dataset: Dataset
    cells: list[Cell]
    facts: dict[Asr, dict[str, Any]]


@dataclass(frozen=True)
class Prepared(Planned):
    """A job that can be run, and what its ledger has."""

    state: RunState

    @property
    def total(self) -> int:
        """How many rows the job asks for."""
        return len(self.state.items) * len(self.cells)


def _remember(planned: Prepared) -> None:
    """Writes what the run is: its job, and which cell each ledger key belongs to."""
    job, cells, folder = planned.job, planned.cells, planned.folder
    before = read_manifest(folder)
    known = {cell.transcript_key for cell in before.cells} if before else set()
    generated = {cell.speech_key for cell in before.cells} if before else set()
    for cell in cells:
        if known and cell.transcript_key not in known:
            same = "; its speech is there already" if cell.speech_key in generated else ""
            print(f"{cell.name}: a new cell beside those that are there{same}")
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
            measured=planned.state.measured_keys(cell),
        )
        for cell in cells
    ]
    write_manifest(folder, json.loads(job.model_dump_json()), rows, planned.file.changes)


def planned_job(file: JobFile, runs: Path, limit: int | None = None) -> Planned:
    """What a job file asks for, checked; raises UserError that names what does not fit.

    `limit` is how many items are taken in place of the job's own.
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
    # What has no speech needs no ASR, and none is fetched or converted for it.
    speech = any(system.has_speech for system in job.systems)
    facts = {asr: asr.identified() for asr in job.asrs} if speech else {}
    cells = expand(job, dataset, list(facts.items()))
    check_classes(cells, job.scoring.metrics)
    return Planned(job, file, runs / job.name, limit, dataset, cells, facts)


def with_rows(planned: Planned, ledger: Ledger) -> Prepared:
    """A job and what its run has; the ledger is only read."""
    state = RunState(
        planned.job,
        planned.dataset,
        planned.limit,
        planned.cells,
        ledger,
        planned.folder / "speech",
    )
    return Prepared(**vars(planned), state=state)


@contextmanager
def opened(file: JobFile, runs: Path, limit: int | None = None) -> Iterator[Prepared]:
    """A job with its run's folder locked for this process.

    Raises UserError for a job that cannot be run, or while another driver runs it, and RunFailed
    where the disk is full or cannot be written.
    """
    with disk_errors(runs):
        # First, so that a job that cannot be run leaves no empty run.
        planned = planned_job(file, runs, limit)
        refuse_links(planned.folder)
        ledger = Ledger(planned.folder / "ledger")
        with ledger.lock():
            sweep_partials(planned.folder)
            ready = with_rows(planned, ledger)
            for part, fault in ledger.damaged.items():
                print(clean(f"{part}: damaged; set aside, its rows are made again: {fault}"))
            ledger.set_aside()
            yield ready


def complete(ready: Prepared, address: str | None = None) -> Pace | None:
    """Generates, transcribes and measures what the ledger lacks; what rows took, if any came.

    `address` is that of a Ray cluster, in place of the job's.
    """
    job, dataset, state = ready.job, ready.dataset, ready.state
    _remember(ready)
    missing, unmeasured = state.missing, state.unmeasured
    cells = plural(len(ready.cells), "cell")
    print(
        clean(
            f"{job.name}: {cells} × {dataset.counted(len(state.items))}; "
            f"{ready.total - missing} of {ready.total} rows already there"
        )
    )
    if unmeasured:
        by = " and ".join(state.metrics)
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
            add_costs(ready.folder, state.costs)
    seconds = time.monotonic() - started
    if not stages or not rows:
        return None
    pace = Pace(rows, round(seconds, 3), round(first, 3), stages, first_rows)
    keep_pace(ready.folder, pace)
    return pace
