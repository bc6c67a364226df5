"""Runs a job's first items for a gate, without reusing rows, and collects their outputs."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bench.common.errors import RunFailed
from bench.common.jobfile import JobFile
from bench.common.resampling import Resampling
from bench.execution.prepare import OpenRun, complete_run, open_run, resolve_job
from bench.gate.golden import Golden, cell_id, gathered
from bench.gate.likelihood import Likelihoods, likelihoods
from bench.jobs.cells import Cell
from bench.metrics.base import CorpusMetric
from bench.metrics.loading import metrics_of
from bench.scoring.scorer import CellScores, Scorer
from bench.scoring.signature import Signature


@dataclass(frozen=True, kw_only=True)
class FirstItems:
    """The job's first items, run and scored: their outputs, and the folder of their speech.

    `metrics` and `resampling` are those of the job's scoring.
    """

    outputs: Golden
    items: list[str]
    cells: dict[str, Cell]
    folder: Path
    metrics: tuple[CorpusMetric, ...]
    resampling: Resampling


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def fingerprint() -> str:
    """Returns what outputs depend on beside code and weights: the processor and PyTorch."""
    import torch

    from bench.common.machine import machine

    facts = machine(torch.device(_device()))
    return f"{facts.gpu or facts.processor}, torch {facts.torch}"


@contextmanager
def fresh_runs() -> Iterator[Path]:
    """Yields an empty folder for runs.

    A cell's key does not include the code, so outputs of an earlier version must not be reused.
    """
    with tempfile.TemporaryDirectory(prefix="pixvox-gate-") as name:
        yield Path(name)


def _scored(ready: OpenRun) -> list[CellScores]:
    """Returns the scores of all cells, without writing files."""
    job, cache = ready.job, ready.folder / "cache"
    with Scorer(ready.dataset, job.scoring, ready.facts, cache, caption=job.caption) as scorer:
        return scorer.score_all([(cell, ready.state.transcripts(cell)) for cell in ready.cells])


def likelihoods_of(job: JobFile) -> Likelihoods:
    """Returns the likelihood of recorded speech under the job's models."""
    with fresh_runs() as runs:
        planned = resolve_job(job, runs)
        return likelihoods(planned.cells, planned.dataset.items[: planned.limit], _device())


def run_first_items(job: JobFile, runs: Path, items: int | None, nats: Likelihoods) -> FirstItems:
    """Returns the job's scores on its first items; raises RunFailed if processes died with rows."""
    with open_run(job, runs, items) as ready:
        complete_run(ready)
        scores = _scored(ready)
        lost = sum(s.items.filter(pl.col("cause") == "machine").height for s in scores)
        if lost:
            raise RunFailed(f"{lost} rows were lost to processes that died; run the gate again")
        return FirstItems(
            outputs=gathered(ready.job.name, fingerprint(), scores, ready.state.ledger, nats=nats),
            items=[item.id for item in ready.state.items],
            cells={cell_id(scored.cell): scored.cell for scored in scores},
            folder=ready.folder,
            metrics=metrics_of(ready.job.scoring.metrics),
            resampling=ready.job.scoring.resampling,
        )


def signatures_of(job: JobFile) -> dict[str, Signature]:
    """Returns the signatures of the job's scores, before anything is run."""
    with fresh_runs() as runs:
        planned = resolve_job(job, runs)
        spec, caption = planned.job.scoring, planned.job.caption
        with Scorer(planned.dataset, spec, planned.facts, runs, caption=caption) as scorer:
            return {cell_id(cell): scorer.signature(cell, 0, 0) for cell in planned.cells}
