"""`pixvox compare`: two finished runs, system by system, on the items that both have."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel, ValidationError

from bench.commands.runs import find
from bench.common.atomic import disk_errors, write_text
from bench.common.errors import UserError
from bench.common.text import clean
from bench.common.yamlfile import read_small, validate
from bench.datasets.base import Dataset
from bench.jobs.spec import Job
from bench.metrics.counted import Counted
from bench.report.page.finished import Finished, read_finished
from bench.report.paired import Comparison, comparison_markdown, show_comparison
from bench.report.terminal import make_console
from bench.scoring.scorer import Scorer
from bench.scoring.signature import NEAR, OTHER, Signature
from bench.systems.base import Role
from bench.tables.comparability import grade_measured
from bench.tables.paired import Paired, paired_frame
from bench.tables.pooling import CONTINUATION

_MOST_BYTES = 256 * 1024 * 1024


class _Row(BaseModel):
    """A row of a run's tables, all seeds pooled, and the cells that it is of."""

    system: str
    role: Role
    prompt: float
    part: str
    cells: list[str]
    n: int
    failed: int
    signature: dict[str, Any]

    @property
    def name(self) -> str:
        """The system, with its prompt share and part."""
        at = f" at {self.prompt:.0%}" if self.prompt else ""
        return self.system + at + (CONTINUATION if self.part == "continuation" else "")

    @property
    def place(self) -> tuple[float, str]:
        """What two rows have in common that may be compared."""
        return self.prompt, self.part


class _Summary(BaseModel):
    rows: list[_Row]


@dataclass(frozen=True)
class _Side:
    """One of the two runs."""

    run: Finished
    job: Job
    rows: tuple[_Row, ...]

    @property
    def items(self) -> list[str]:
        """The items that were scored."""
        cells = [cell for row in self.rows for cell in row.cells]
        scored = self.run.rows.filter(pl.col("cell").is_in(cells), pl.col("tokens").is_not_null())
        return scored["item"].unique(maintain_order=True).to_list()


def _side(folder: Path) -> _Side:
    run = read_finished(folder)
    path = folder / "summary.json"
    try:
        summary = _Summary.model_validate_json(read_small(path, _MOST_BYTES))
    except ValidationError as error:
        raise UserError(f"{path}: of another version; run: pixvox rescore JOB") from error
    job: Job = validate(run.job, Job, f"{folder / 'run.json'}: job")
    return _Side(run, job, tuple(summary.rows))


def _named(side: _Side, name: str) -> list[_Row]:
    chosen = [row for row in side.rows if name in (row.system, row.name)]
    if not chosen:
        known = ", ".join(dict.fromkeys(row.system for row in side.rows))
        raise UserError(clean(f"{side.run.folder}: no system {name!r}; there are: {known}"))
    return chosen


def _systems(side: _Side) -> list[_Row]:
    """The rows that compete: neither ceilings nor floors, and something of them was transcribed."""
    return [row for row in side.rows if row.role == Role.SYSTEM and row.failed < row.n]


def _matched(one: _Side, other: _Side, names: Sequence[str] | None) -> list[tuple[_Row, _Row]]:
    """Rows of both runs, of one prompt share and part: those named, or those of equal names.

    A run with one system a place is compared with another such run, whatever they are called.
    """
    if names is not None:
        first, second = _named(one, names[0]), _named(other, names[1])
        pairs = [(a, b) for a in first for b in second if a.place == b.place]
    else:
        first, second = _systems(one), _systems(other)
        pairs = [(a, b) for a in first for b in second if a.name == b.name]
        lone = all(len({row.place for row in rows}) == len(rows) for rows in (first, second))
        if not pairs and lone:
            pairs = [(a, b) for a in first for b in second if a.place == b.place]
    if not pairs:
        there = " and ".join(
            f"{side.run.name} has {', '.join(dict.fromkeys(row.name for row in rows)) or 'none'}"
            for side, rows in ((one, first), (other, second))
        )
        raise UserError(
            clean(f"compare: no two systems belong together: {there}; name two: --systems A B")
        )
    return pairs


def _unmatched(one: _Side, other: _Side, pairs: Sequence[tuple[_Row, _Row]]) -> tuple[str, ...]:
    """The names of systems that are compared with none of the other run."""
    matched = {id(row) for pair in pairs for row in pair}
    systems = (row for side in (one, other) for row in _systems(side))
    return tuple(dict.fromkeys(row.name for row in systems if id(row) not in matched))


def _doubt(one: _Row, other: _Row, folders: tuple[Path, Path]) -> str:
    """In what the protocols of two rows nearly agree; "" where they do.

    Raises UserError where they are too different to compare.
    """
    try:
        # How many items there are does not matter: the same ones are compared.
        here, there = (
            replace(Signature(**row.signature), n=0, metrics=_metrics(row, beside))
            for row, beside in ((one, other), (other, one))
        )
    except (TypeError, KeyError) as error:
        raise UserError(f"{folders[0]}: of another version; run: pixvox rescore JOB") from error
    grade = grade_measured(there, here, "the first run")
    if grade.mark == OTHER:
        first, second = folders
        raise UserError(clean(f"{second} cannot be compared with {first}: {grade.reason}"))
    return grade.reason if grade.mark == NEAR else ""


def _metrics(row: _Row, beside: _Row) -> str:
    """A row's metrics without those of the user's own that the other row does not have."""
    others = {entry.partition("@")[0] for entry in beside.signature["metrics"].split(",")}
    entries = row.signature["metrics"].split(",")
    return ",".join(entry for entry in entries if entry.partition("@")[0] in others)


def _dataset(one: _Side, other: _Side) -> Dataset:
    data = one.run.dataset or other.run.dataset
    if data is None:
        raise UserError(clean(f"{one.run.folder}: cannot be compared: {one.run.lost}"))
    return data


def _counted(
    side: _Side, rows: Sequence[_Row], items: Sequence[str], data: Dataset
) -> list[Counted]:
    """What metrics count of some items in each row, averaged over its seeds.

    The run's own scoring and cache are taken: most of it was counted before.
    """
    job, cache = side.job, side.run.folder / "cache"
    with Scorer(data, job.scoring, {}, cache, job.caption) as scorer:
        return [_mean(side.run, row, items, scorer) for row in rows]


def _mean(run: Finished, row: _Row, items: Sequence[str], scorer: Scorer) -> Counted:
    wanted = pl.DataFrame({"item": items})
    parts = []
    for cell in row.cells:
        rows = run.rows.filter(cell=cell).select("item", "tokens")
        texts = wanted.join(rows, on="item", how="left", maintain_order="left")
        if texts["tokens"].null_count():
            path = run.folder / "rows.parquet"
            raise UserError(f"{path}: does not have all rows of {row.name}; run the job again")
        hypotheses = dict(zip(items, texts["tokens"].to_list(), strict=True))
        parts.append(scorer.counted(hypotheses))
    return parts[0].with_values(np.mean([part.values for part in parts], axis=0))


def _compared(one: _Side, other: _Side, names: Sequence[str] | None) -> Comparison:
    pairs = _matched(one, other, names)
    folders = (one.run.folder, other.run.folder)
    doubts = dict.fromkeys(doubt for a, b in pairs if (doubt := _doubt(a, b, folders)))
    data, resampling = _dataset(one, other), one.job.scoring.resampling
    counts = (len(one.items), len(other.items))
    shared = set(one.items) & set(other.items)
    items = [item.id for item in data.items if item.id in shared]
    if not items:
        raise UserError(f"compare: {one.run.name} and {other.run.name} have no item in common")
    first = _counted(one, [a for a, _ in pairs], items, data)
    second = _counted(other, [b for _, b in pairs], items, data)
    paired = [
        Paired(a.name if a.name == b.name else f"{a.name} and {b.name}", *counted)
        for (a, b), *counted in zip(pairs, first, second, strict=True)
    ]
    frame = paired_frame(paired, resampling)
    alone = _unmatched(one, other, pairs) if names is None else ()
    called = (one.run.name, other.run.name)
    if names is not None:
        called = (f"{names[0]} of {called[0]}", f"{names[1]} of {called[1]}")
    return Comparison(
        names=called,
        frame=frame,
        items=len(items),
        counts=counts,
        confidence=resampling.confidence,
        doubts=tuple(doubts),
        alone=alone,
    )


def compare(
    runs: Path, named: Sequence[str], systems: Sequence[str] | None, out: Path | None
) -> int:
    """Prints what the second of two runs has beyond the first; writes it as Markdown if asked.

    `systems` are one of the first run's and one of the second's. Raises UserError for runs that are
    not finished, whose data have changed, or whose protocols cannot be compared.
    """
    with disk_errors(runs):
        one, other = (_side(find(runs, name)) for name in named)
        shown = _compared(one, other, systems)
    show_comparison(shown, make_console())
    if out is not None:
        with disk_errors(out):
            write_text(out, comparison_markdown(shown))
        print(clean(f"{out}: the same as Markdown"))
    return 0
