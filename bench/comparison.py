"""Tables in Polars: published rows in one block, measured rows in another, nothing mixed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from bench.cells import Cell
from bench.comparability import SAME, Grade, grade_measured, grade_published
from bench.published import SCORES, Published, load_published
from bench.scoring import CellScores
from bench.signature import Signature
from bench.statistics import Difference, Interval, compare, intervals
from bench.systems.specs import CEILINGS, FLOORS, PixVoxSpec, PromptSpec

TITLES = {
    "table1": "Table I: systems without a prompt",
    "table2": "Table II: speech completion, a share of the reference speech given as a prompt",
}
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Protocol:
    """What all measured rows of a run share; it is printed under every table."""

    dataset: str
    split: str
    dataset_digest: str
    speech: str
    items: int
    of: int
    asr: str
    references: str
    normaliser: str = "none"
    confidence: float = 0.95
    unusable: int = 0


@dataclass(frozen=True)
class Row:
    """A measured row: one cell, or the cells that differ only in their seed, pooled by image."""

    cells: tuple[CellScores, ...]
    label: str
    values: "np.ndarray[Any, np.dtype[np.float64]]"
    scores: dict[str, Interval]

    @property
    def first(self) -> CellScores:
        """The cell of the first seed."""
        return self.cells[0]

    @property
    def cell(self) -> Cell:
        """That cell itself."""
        return self.first.cell

    @property
    def signature(self) -> Signature:
        """The first cell's, with all seeds and the failures of all."""
        seeds = ",".join(found.signature.seeds for found in self.cells)
        failed = sum(found.failed for found in self.cells)
        return replace(self.first.signature, seeds=seeds, failed=failed)

    def seed_spread(self, metric: str) -> float | None:
        """The standard deviation of a score over seeds, None for a single one."""
        if len(self.cells) < 2:
            return None
        return float(np.std([found.corpus[metric] for found in self.cells], ddof=1))


def _without_seed(cell: Cell) -> str:
    system = cell.system
    if isinstance(system, PixVoxSpec):
        decoding = system.decoding.model_copy(update={"seed": 0})
        system = system.model_copy(update={"decoding": decoding})
    heard = cell.asr.model_dump_json() if cell.asr else ""
    return f"{system.model_dump_json()}{heard}{cell.hear}"


def pooled(scores: Sequence[CellScores], replicates: int, confidence: float) -> list[Row]:
    """Rows in the cells' order, of one ASR; an image stays whole, summed over seeds."""
    groups: dict[str, list[CellScores]] = {}
    for found in scores:
        groups.setdefault(_without_seed(found.cell), []).append(found)
    rows = []
    for cells in groups.values():
        label = _label(cells[0].cell, len(cells))
        if len(cells) == 1:
            rows.append(Row(tuple(cells), label, cells[0].values, cells[0].scores))
            continue
        values = np.sum([found.values for found in cells], axis=0)
        spread = intervals(values, replicates, confidence)
        rows.append(Row(tuple(cells), label, values, spread))
    varied = _varied([row.cell for row in rows])
    return [Row(r.cells, r.label + varied(r.cell), r.values, r.scores) for r in rows]


def _label(cell: Cell, seeds: int) -> str:
    label = cell.label + (f", {seeds} seeds" if seeds > 1 else "")
    return label + (", continuation only" if cell.hear == "continuation" else "")


def _varied(cells: Sequence[Cell]) -> Any:
    """What tells cells of one label apart beside prompt and seed, as text for the label."""

    def facts(cell: Cell) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if isinstance(cell.system, PixVoxSpec):
            found = cell.system.decoding.model_dump(exclude={"seed"})
        if hasattr(cell.system, "bandwidth"):
            found["bandwidth"] = cell.system.bandwidth
        return found

    seen: dict[str, dict[str, set[Any]]] = {}
    for cell in cells:
        for name, value in facts(cell).items():
            seen.setdefault(cell.label, {}).setdefault(name, set()).add(value)

    def text(cell: Cell) -> str:
        differing = [n for n, values in seen.get(cell.label, {}).items() if len(values) > 1]
        return "".join(f", {name} {facts(cell)[name]}" for name in differing)

    return text


def belongs(row: Row, table: str) -> bool:
    """Whether a row is of a table."""
    if table == "table1":
        return row.cell.prompt == 0
    return isinstance(row.cell.system, PixVoxSpec | PromptSpec)


def role(cell: Cell) -> str:
    """What stands in the column `training`."""
    if isinstance(cell.system, PixVoxSpec):
        return "single model"
    if isinstance(cell.system, CEILINGS):
        return "ceiling"
    return "floor" if isinstance(cell.system, FLOORS) else str(cell.system.training)


def ranked(row: Row) -> bool:
    """Whether a row is a system that competes: neither ceiling nor floor."""
    return not isinstance(row.cell.system, CEILINGS + FLOORS)


_SCHEMA: dict[str, Any] = {
    "block": pl.String,
    "grade": pl.String,
    "system": pl.String,
    "dataset": pl.String,
    "training": pl.String,
    "prompt": pl.Float64,
    "asr": pl.String,
    **{f"{s}{end}": pl.Float64 for s in (*SCORES, "WER") for end in ("", "_low", "_high")},
    "n": pl.Int64,
    "failed": pl.Int64,
    "unended": pl.Int64,
    "seeds": pl.Int64,
    "best": pl.List(pl.String),
    "significant": pl.List(pl.String),
    "reason": pl.String,
    "source": pl.String,
    "note": pl.String,
    "signature": pl.String,
}


def published_frame(
    published: Published, table: str, dataset: str = "", asr: str = ""
) -> pl.DataFrame:
    """A table's published rows, graded against a measured protocol."""
    rows = []
    for row in published.rows:
        if row.table == table:
            grade = grade_published(row, dataset, asr)
            rows.append(
                {
                    "block": "published",
                    "grade": grade.mark,
                    "reason": grade.reason,
                    "system": row.system,
                    "dataset": row.dataset,
                    "training": row.training,
                    "prompt": row.prompt,
                    "asr": row.asr,
                    **{name: row.scores.get(name) for name in SCORES},
                    "source": published.sources[row.source],
                    "note": row.note,
                }
            )
    full = [dict.fromkeys(_SCHEMA) | row for row in rows]
    return pl.DataFrame(full, schema=_SCHEMA)


def _remarks(row: Row) -> list[str]:
    """Why items failed, and how, for the note under the table."""
    first = row.first
    remarks = list(first.reasons)
    if first.unended:
        remarks.append(f"{first.unended} of {first.n} reached the length limit")
    for name, share in first.kinds.items():
        if share and name not in ("failed", "no end of speech"):
            remarks.append(f"{name}: {share:.1%}")
    spread = row.seed_spread("CIDEr")
    if spread is not None:
        remarks.append(f"CIDEr's standard deviation over seeds {spread:.2f}")
    for column in ("device", "spoken_on"):
        devices = first.items.filter(pl.col(column) != "")[column].unique().sort().to_list()
        if len(devices) > 1:
            remarks.append(f"rows were made on different devices: {', '.join(devices)}")
    return remarks


def _scores(row: Row) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for short, long in (*SCORES.items(), ("WER", "WER")):
        interval = row.scores.get(long)
        found[short] = interval.score if interval else None
        found[f"{short}_low"] = interval.low if interval else None
        found[f"{short}_high"] = interval.high if interval else None
    return found


def measured_frame(
    rows: Sequence[Row], table: str, protocol: Protocol, run: str, replicates: int
) -> pl.DataFrame:
    """A table's measured rows, in the job's order.

    Only rows of the first one's protocol are ranked. `significant` names the scores in which a
    row differs from the first ranked row of its prompt (see base_of; paired permutation test,
    Holm over metrics).
    """
    chosen = [row for row in rows if belongs(row, table)]
    competing = [row for row in chosen if ranked(row)]
    first = competing[0] if competing else (chosen[0] if chosen else None)
    made = []
    for row in chosen:
        assert first is not None
        grade = grade_measured(row.first.signature, first.first.signature)
        found = dict.fromkeys(_SCHEMA) | {
            "block": "measured",
            "grade": grade.mark,
            "reason": grade.reason,
            "system": row.label,
            "dataset": protocol.dataset,
            "training": role(row.cell),
            "prompt": row.cell.prompt,
            "asr": protocol.asr if row.cell.asr else "none",
            **_scores(row),
            "n": row.first.n,
            "failed": sum(found.failed for found in row.cells),
            "unended": sum(found.unended for found in row.cells),
            "seeds": len(row.cells),
            "best": _best(row, competing, first, grade),
            "significant": _significant(row, base_of(row, competing), replicates),
            "source": f"pixvox run {run}",
            "note": "; ".join(_remarks(row)),
            "signature": row.signature.text("*"),
        }
        made.append(found)
    return pl.DataFrame(made, schema=_SCHEMA)


def _best(row: Row, competing: Sequence[Row], first: Row, grade: Grade) -> list[str]:
    """The scores in which a row is the best of those that may be ranked with it."""
    if grade.mark != SAME or not ranked(row):
        return []
    peers = [
        other
        for other in competing
        if grade_measured(other.first.signature, first.first.signature).mark == SAME
        and other.cell.prompt == row.cell.prompt
    ]
    if len(peers) < 2:
        return []
    return [
        short
        for short, long in SCORES.items()
        if row.scores[long].score == max(other.scores[long].score for other in peers)
    ]


def base_of(row: Row, competing: Sequence[Row]) -> Row | None:
    """What a row is tested against: the first competing one with its prompt and protocol."""
    for other in competing:
        same = other.cell.prompt == row.cell.prompt
        if same and grade_measured(row.first.signature, other.first.signature).mark == SAME:
            return other
    return None


def _significant(row: Row, base: Row | None, replicates: int) -> list[str]:
    if base is None or base is row or not ranked(row):
        return []
    found = differences(base, row, replicates)
    return [s for s, name in SCORES.items() if found[name].p_holm < SIGNIFICANT]


def differences(one: Row, other: Row, replicates: int) -> dict[str, Difference]:
    """`other` less `one`, on scores that both have; seeds are averaged within an image."""
    width = min(one.values.shape[1], other.values.shape[1])
    a, b = (row.values[:, :width] / len(row.cells) for row in (one, other))
    return compare(a, b, replicates)


def comparison(
    rows: Sequence[Row], table: str, protocol: Protocol, asr: str, run: str, replicates: int
) -> pl.DataFrame:
    """A whole table: the published block, then the measured one."""
    published = published_frame(load_published(), table, protocol.dataset, asr)
    measured = measured_frame(rows, table, protocol, run, replicates)
    return pl.concat([published, measured])
