"""Joins cells to rows of a comparison: seeds pooled by image, and the row to test against."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl

from bench.common.resampling import Resampling
from bench.jobs.cells import Cell
from bench.jobs.naming import names_without_seed
from bench.metrics.counted import Counted
from bench.scoring.inference import Interval, intervals
from bench.scoring.scorer import CellScores
from bench.scoring.signature import NONE, SAME, Signature
from bench.systems.base import Role
from bench.tables.comparability import Grade, grade_measured, grade_outcome

CONTINUATION = ", continuation only"
"""The end of a row's label if only the speech after the prompt was transcribed."""


@dataclass(frozen=True, eq=False)
class Row:
    """A measured row: one cell, or the cells that differ only in their seed, pooled by image.

    `name` is the system's label and what distinguishes the row from others of that label.
    """

    cells: tuple[CellScores, ...]
    name: str
    counted: Counted
    scores: dict[str, Interval]

    @property
    def label(self) -> str:
        """Its label in tables: the name, the number of seeds, and the scored part of the speech."""
        part = CONTINUATION if self.cell.part == "continuation" else ""
        count = len(self.cells)
        if not self.cell.system.sampled():
            return self.name + part
        return f"{self.name}, {count} seed{'s' if count > 1 else ''}{part}"

    @property
    def first(self) -> CellScores:
        """The scores of the first seed's cell."""
        return self.cells[0]

    @property
    def cell(self) -> Cell:
        """The first seed's cell."""
        return self.first.cell

    @property
    def signature(self) -> Signature:
        """The first cell's signature, with all seeds and the failures of all."""
        seeds = ",".join(scores.signature.seeds for scores in self.cells)
        return replace(self.first.signature, seeds=seeds, failed=self.failed)

    @property
    def asked(self) -> int:
        """The number of items over all seeds."""
        return sum(scores.n for scores in self.cells)

    @property
    def failed(self) -> int:
        """The number of failed items over all seeds."""
        return sum(scores.failed for scores in self.cells)

    @property
    def items(self) -> pl.DataFrame:
        """The rows of all items and seeds."""
        return pl.concat([scores.items for scores in self.cells], how="vertical_relaxed")

    @cached_property
    def outcome(self) -> Grade:
        """The row's grade by its own failures."""
        lost = sum(scores.items.filter(cause="machine").height for scores in self.cells)
        bound = self.cell.system.role != Role.SYSTEM
        return grade_outcome(self.asked, self.failed, lost, bound)

    def seed_spread(self, metric: str) -> float | None:
        """Returns the standard deviation of a score over seeds, None for a single one."""
        if len(self.cells) < 2:
            return None
        return float(np.std([scores.corpus[metric] for scores in self.cells], ddof=1))


def _without_seed(cell: Cell) -> str:
    system = cell.system.at({"seed": 0})
    transcribed = cell.asr.model_dump_json() if cell.asr else ""
    return f"{system.model_dump_json()}{transcribed}{cell.part}"


def pooled(scores: Sequence[CellScores], resampling: Resampling) -> list[Row]:
    """Returns rows in the order of one ASR's cells; images are summed over seeds."""
    groups: dict[str, list[CellScores]] = {}
    for cell_scores in scores:
        groups.setdefault(_without_seed(cell_scores.cell), []).append(cell_scores)
    rows = []
    for cells in groups.values():
        label = cells[0].cell.label
        if len(cells) == 1:
            rows.append(Row(tuple(cells), label, cells[0].counted, cells[0].scores))
            continue
        values = np.sum([cell_scores.counted.values for cell_scores in cells], axis=0)
        counted = cells[0].counted.with_values(values)
        spread = intervals(counted, resampling)
        rows.append(Row(tuple(cells), label, counted, spread))
    names = names_without_seed([row.cell for row in rows])
    return [replace(row, name=names[row.cell.name]) for row in rows]


def role(cell: Cell, dataset: str) -> str:
    """Returns the entry in the column `training`, with the data if it is not the job's."""
    if elsewhere(cell, dataset):
        return f"{cell.system.in_training()}, trained on {' and '.join(cell.trained_on)}"
    return cell.system.in_training()


def elsewhere(cell: Cell, dataset: str) -> bool:
    """Returns whether a system's weights name other training data than the dataset."""
    return bool(cell.trained_on) and dataset not in cell.trained_on


def ranked(row: Row) -> bool:
    """Returns whether a row competes: it is no ceiling or floor, and has a transcript."""
    return row.cell.system.role == Role.SYSTEM and row.outcome.mark != NONE


def grade_of(row: Row, first: Row) -> Grade:
    """Returns a row's grade in a table with the protocol of `first`."""
    if row.outcome.mark == NONE:
        return row.outcome
    beside = grade_measured(row.first.signature, first.first.signature)
    return beside if beside.mark != SAME else row.outcome


def base_of(row: Row, competing: Sequence[Row]) -> Row | None:
    """Returns the row that a row is tested against: the first competing one of its prompt share."""
    if row.outcome.mark != SAME:
        return None
    for other in competing:
        if other.outcome.mark != SAME:
            continue
        same = other.cell.prompt == row.cell.prompt
        if same and grade_measured(row.first.signature, other.first.signature).mark == SAME:
            return other
    return None


def on_common_scale(a: Row, b: Row) -> tuple[Counted, Counted]:
    """Returns both rows' statistics of their common metrics, averaged over each row's seeds."""
    both = [metric for metric in a.counted.metrics if metric in b.counted.metrics]

    def averaged(row: Row) -> Counted:
        counted = row.counted.only(both)
        return counted.with_values(counted.values / len(row.cells))

    return averaged(a), averaged(b)
