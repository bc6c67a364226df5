"""Scores the transcripts of a finished run again, image by image."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import polars as pl
from pydantic import BaseModel, ValidationError

from bench.common.errors import UserError
from bench.common.text import clean
from bench.common.yamlfile import read_small, validate
from bench.jobs.spec import Job
from bench.metrics.counted import Counted
from bench.metrics.loading import metric_of
from bench.report.page.finished import Finished
from bench.scoring.scorer import Scorer
from bench.store.ledger import Ledger
from bench.store.manifest import ManifestCell, read_manifest
from bench.store.rows import MEASURED_SCHEMA, measured_columns
from bench.systems.base import Role
from bench.tables.pooling import CONTINUATION

_MOST_BYTES = 256 * 1024 * 1024

CountCell = Callable[[str], Counted]
"""Returns the statistics of a cell by its name: one row for each item, sorted by item."""


class FinishedSystem(BaseModel, frozen=True):
    """A row of a run's tables, with all its seeds' cells."""

    system: str
    role: Role
    prompt: float
    part: str
    cells: tuple[str, ...]
    sampled: bool

    @property
    def place(self) -> tuple[float, str]:
        """The prompt share and part, which must be equal in systems that are compared."""
        return self.prompt, self.part

    @property
    def where(self) -> str:
        """The prompt share and part in words, to add to a system's name; "" for the usual ones."""
        at = f", {self.prompt:.0%} prompt" if self.prompt else ""
        return at + (CONTINUATION if self.part == "continuation" else "")


class _Summary(BaseModel):
    rows: tuple[FinishedSystem, ...]


def finished_systems(run: Finished) -> tuple[FinishedSystem, ...]:
    """Returns the rows of the run's tables with bounds; raises UserError for another version's
    file."""
    path = run.folder / "summary.json"
    try:
        return _Summary.model_validate_json(read_small(path, _MOST_BYTES)).rows
    except ValidationError as error:
        raise UserError(f"{path}: written by another version; run: pixvox rescore JOB") from error


def job_of(run: Finished) -> Job:
    """Returns the run's job."""
    job: Job = validate(run.job, Job, f"{run.folder / 'run.json'}: job")
    return job


@contextmanager
def counting(run: Finished) -> Iterator[CountCell]:
    """Counts cells by the job's metrics; raises UserError where the data have gone.

    Metrics of sound are counted where the run's ledger has what they measured of the cell.
    """
    if run.dataset is None:
        raise UserError(clean(f"{run.folder}: its items cannot be scored again: {run.lost}"))
    job = job_of(run)
    with Scorer(run.dataset, job.scoring, {}, run.folder / "cache", caption=job.caption) as scorer:
        manifest = read_manifest(run.folder)
        cells = {cell.name: cell for cell in manifest.cells} if manifest else {}

        def count(cell: str) -> Counted:
            rows = run.rows.filter(cell=cell).sort("item")
            return counted_rows(scorer, rows, run, cells.get(cell))

        yield count


def counted_rows(
    scorer: Scorer, rows: pl.DataFrame, run: Finished, cell: ManifestCell | None
) -> Counted:
    """What metrics count of a cell's rows, one an item; those of speech where it has some."""
    counted = scorer.counted(dict(rows.select("item", "tokens").iter_rows()))
    if not scorer.of_speech or cell is None or not cell.asr:
        return counted
    return counted.beside(scorer.spoken(_with_measured(rows, run, cell)))


def _with_measured(rows: pl.DataFrame, run: Finished, cell: ManifestCell) -> pl.DataFrame:
    """Rows with what audio metrics measured of their speech, as far as the ledger has it."""
    ledger = Ledger(run.folder / "ledger")
    for entry, key in cell.measured.items():
        measured = ledger.rows("measured", key, MEASURED_SCHEMA)
        if measured.height:
            own = measured_columns(measured, metric_of(entry).name)
            rows = rows.join(own, on="item", how="left", maintain_order="left")
    return rows
