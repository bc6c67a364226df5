"""`pixvox run`: a job file in, tables, rows and speech out."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.atomic import disk_errors
from bench.cells import Cell
from bench.comparison import Protocol
from bench.completion import make_whole
from bench.datasets.types import Dataset
from bench.dryrun import keep_rate, read_rates, tell
from bench.errors import RunFailed, UserError
from bench.evaluation import Evaluation
from bench.expansion import expand
from bench.interrupt import stoppable
from bench.ledger import Ledger
from bench.links import refuse_links
from bench.manifest import ManifestCell, read_manifest, write_manifest
from bench.preflight import check_classes, missing_files
from bench.progress import progress
from bench.results import write_report, write_rows
from bench.scoring import CellScores, Scorer
from bench.spec import AsrSpec, Flickr8kSpec, Job, ScenesSpec
from bench.speech import restore
from bench.text import clean
from bench.yamlfile import parse


def load_dataset(job: Job) -> Dataset:
    """The job's dataset."""
    spec = job.dataset
    if isinstance(spec, ScenesSpec):
        from bench.datasets.scenes.load import load_scenes

        return load_scenes(spec.folder)
    assert isinstance(spec, Flickr8kSpec)
    from bench.datasets.flickr8k import load_flickr8k

    return load_flickr8k(spec.root, spec.split, spec.audio)


def _remember(job: Job, cells: list[Cell], folder: Path) -> None:
    """Writes what the run is: its job, and which cell each ledger key belongs to."""
    before = read_manifest(folder)
    known = {cell.heard_key for cell in before.cells} if before else set()
    spoken = {cell.speech_key for cell in before.cells} if before else set()
    for cell in cells:
        if known and cell.heard_key not in known:
            same = "; its speech is there already" if cell.speech_key in spoken else ""
            print(f"{cell.name}: a new cell, nothing of the old ones is mixed with it{same}")
    rows = [
        ManifestCell(
            cell=cell.slug,
            system=cell.label,
            prompt=cell.prompt,
            asr=cell.asr.label if cell.asr else "",
            hear=cell.hear,
            speech_key=cell.speech_key,
            heard_key=cell.heard_key,
        )
        for cell in cells
    ]
    write_manifest(folder, json.loads(job.model_dump_json()), rows)


def _asr_text(asr: AsrSpec, facts: dict[str, Any]) -> str:
    how = f"beam {asr.beam_size}" if asr.beam_size else "greedy"
    return f"{asr.label} ({facts['weights']}), {how}"


@dataclass(frozen=True)
class Planned:
    """A job that can be run: its data, cells and ASR models, and where its run is kept."""

    job: Job
    path: Path
    folder: Path
    limit: int | None
    dataset: Dataset
    cells: list[Cell]
    checkpoints: dict[AsrSpec, Path]
    facts: dict[AsrSpec, dict[str, Any]]


@dataclass(frozen=True)
class Prepared(Planned):
    """A job that can be run, and what its ledger has."""

    evaluation: Evaluation

    @property
    def total(self) -> int:
        """How many rows the job asks for."""
        return len(self.evaluation.items) * len(self.cells)


def _planned(path: Path, runs: Path, limit: int | None) -> Planned:
    from bench.listening.choice import asr_facts, locate

    job: Job = parse(path, Job)
    limit = limit if limit is not None else job.limit
    if limit is not None and limit < 1:
        raise UserError(f"{path}: limit {limit}: take at least one item")
    dataset = load_dataset(job)
    if not dataset.items:
        raise UserError(f"{path}: dataset: the split has no items")
    checkpoints = {asr: locate(asr) for asr in job.asrs}
    facts = {asr: asr_facts(asr, weights) for asr, weights in checkpoints.items()}
    cells = expand(job, dataset, list(facts.items()))
    return Planned(job, path, runs / job.name, limit, dataset, cells, checkpoints, facts)


def _with_rows(planned: Planned, ledger: Ledger) -> Prepared:
    """A job and what its run has; the ledger is only read."""
    evaluation = Evaluation(
        planned.job,
        planned.dataset,
        planned.limit,
        planned.cells,
        ledger,
        planned.folder / "speech",
    )
    return Prepared(**vars(planned), evaluation=evaluation)


@contextmanager
def opened(path: Path, runs: Path, limit: int | None) -> Iterator[Prepared]:
    """A job with its run's folder locked for this process.

    Raises UserError for a job that cannot be run, or while another driver runs it, and RunFailed
    where the disk is full or cannot be written.
    """
    with disk_errors(runs):
        # First, so that a job that cannot be run leaves no empty run.
        planned = _planned(path, runs, limit)
        refuse_links(planned.folder)
        ledger = Ledger(planned.folder / "ledger")
        with ledger.lock():
            ready = _with_rows(planned, ledger)
            for part, fault in ledger.damaged.items():
                print(clean(f"{part}: damaged; set aside, its rows are made again: {fault}"))
            ledger.set_aside()
            yield ready


def complete(ready: Prepared, runs: Path) -> None:
    """Speaks and hears what the ledger lacks."""
    job, dataset, evaluation = ready.job, ready.dataset, ready.evaluation
    _remember(job, ready.cells, ready.folder)
    missing = evaluation.missing
    print(
        f"{job.name}: {len(ready.cells)} cells × {len(evaluation.items)} of {len(dataset.items)} "
        f"{dataset.name} {dataset.split} images; {ready.total - missing} of {ready.total} rows "
        "already there"
    )
    if missing:
        check_classes(ready.cells)
        started = time.monotonic()
        with stoppable() as stop, progress() as report:
            make_whole(evaluation, ready.checkpoints, report, stop=stop)
        keep_rate(runs, ready.cells, missing, time.monotonic() - started)


def scored(ready: Prepared) -> list[CellScores]:
    """The scores of all cells, and nothing written."""
    with Scorer(ready.dataset, ready.job.scoring, ready.facts, ready.folder / "cache") as scorer:
        return [scorer.score(cell, ready.evaluation.transcripts(cell)) for cell in ready.cells]


def run_job(
    path: Path,
    runs: Path,
    limit: int | None,
    score_only: bool = False,
    dry: bool = False,
) -> int:
    """Runs a job under `runs/NAME`, doing only what its ledger lacks; 0 when all rows are there.

    With `score_only` no model is loaded: what was heard is scored anew. With `dry` nothing is
    done but told. Raises UserError as `opened` does, and for rows that are not there to score.
    """
    started = time.monotonic()
    if dry:
        with disk_errors(runs):
            _tell(_planned(path, runs, limit), runs)
        return 0
    with opened(path, runs, limit) as ready:
        _say_missing(ready)
        for name, reason in ready.dataset.unusable:
            print(clean(f"{name}: cannot be scored: {reason}"))
        missing = ready.evaluation.missing
        if missing and score_only:
            raise UserError(
                f"{path}: {missing} rows are not heard yet; run first: pixvox run {path}"
            )
        complete(ready, runs)
        failed = _report(ready)
        where = clean(str(ready.folder))
        print(
            f"{where}: tables/, rows.parquet, speech/, ledger/; {ready.total} rows, "
            f"{failed} failed; {time.monotonic() - started:.0f} s"
        )
    return 0


def _tell(planned: Planned, runs: Path) -> None:
    """Says what there is to do. Nothing is written or locked, and a driver may be at work."""
    refuse_links(planned.folder)
    ready = _with_rows(planned, Ledger(planned.folder / "ledger"))
    _say_missing(ready)
    tell(planned.job.name, planned.cells, ready.evaluation, read_rates(runs))


def _say_missing(ready: Prepared) -> None:
    for line in missing_files(ready.evaluation.items, ready.dataset.items, ready.cells):
        print(f"{ready.job.name}: {line}")


def _report(ready: Prepared) -> int:
    """Scores and writes everything; gives how many rows failed."""
    job, dataset = ready.job, ready.dataset
    protocol = Protocol(
        dataset.name,
        dataset.split,
        dataset.digest,
        dataset.speech_kind,
        len(ready.evaluation.items),
        len(dataset.items),
        _asr_text(job.asrs[0], ready.facts[job.asrs[0]]),
        job.scoring.references,
        job.scoring.normalisers[0],
        job.scoring.confidence,
        len(dataset.unusable),
    )
    tables = [(cell, ready.evaluation.transcripts(cell)) for cell in ready.cells]
    with progress() as report:
        made = restore(ready.evaluation, {cell.name: t for cell, t in tables}, report)
    if made:
        print(f"{job.name}: {made} missing files of speech made again from the ledger")
    for part, fault in ready.evaluation.ledger.damaged.items():
        raise RunFailed(f"{part}: damaged while the run was on ({fault}); run the job again")
    cache = ready.folder / "cache"
    others: list[CellScores] = []
    for name in job.scoring.normalisers[1:]:
        with Scorer(dataset, job.scoring.with_normaliser(name), ready.facts, cache) as scorer:
            others += [scorer.score(cell, table) for cell, table in tables]
    with Scorer(dataset, job.scoring, ready.facts, cache) as scorer:
        scores = [scorer.score(cell, table) for cell, table in tables]
        write_rows(ready.folder, scores, dataset)
        write_report(job, ready.folder, scores, others, protocol, scorer)
    return sum(s.failed for s in scores)
