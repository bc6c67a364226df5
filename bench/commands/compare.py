"""`pixvox compare`: paired differences of the systems of two finished runs, on common items."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from pydantic import BaseModel, ValidationError

from bench.commands.arguments import add_runs
from bench.commands.options import Parser, path, run_name
from bench.commands.runfolders import find
from bench.commands.scoredagain import counted_rows
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
from bench.store.manifest import ManifestCell, read_manifest
from bench.systems.base import Role
from bench.tables.comparability import grade_measured
from bench.tables.paired import Paired, paired_frame
from bench.tables.pooling import CONTINUATION

_MOST_BYTES = 256 * 1024 * 1024


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument(
        "names",
        type=run_name,
        nargs=2,
        metavar="RUN",
        help="the baseline, and the run to compare with it",
    )
    parser.add_argument(
        "--systems", nargs=2, metavar=("A", "B"), help="one of the first run's, one of the second's"
    )
    parser.add_argument("-o", "--out", type=path, help="write the comparison as Markdown")
    add_runs(parser)


class _Row(BaseModel):
    """A row of a run's tables, with all seeds pooled, and its cells."""

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
        """The share of the recording that is the prompt, and whether the whole speech or its
        continuation was transcribed; rows are compared only if both are equal."""
        return self.prompt, self.part


class _Summary(BaseModel):
    rows: list[_Row]


@dataclass(frozen=True)
class _Side:
    """One of the two runs; `cells` are those of its `run.json` by name."""

    run: Finished
    job: Job
    rows: tuple[_Row, ...]
    cells: Mapping[str, ManifestCell]

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
        raise UserError(f"{path}: written by another version; run: pixvox rescore JOB") from error
    job: Job = validate(run.job, Job, f"{folder / 'run.json'}: job")
    manifest = read_manifest(folder)
    cells = {cell.name: cell for cell in manifest.cells} if manifest else {}
    return _Side(run, job, tuple(summary.rows), cells)


def _named(side: _Side, name: str) -> list[_Row]:
    chosen = [row for row in side.rows if name in (row.system, row.name)]
    if not chosen:
        known = ", ".join(dict.fromkeys(row.system for row in side.rows))
        raise UserError(clean(f"{side.run.folder}: no system {name!r}; there are: {known}"))
    return chosen


def _systems(side: _Side) -> list[_Row]:
    """Returns the rows of systems, not ceilings or floors, of which an item was transcribed."""
    return [row for row in side.rows if row.role == Role.SYSTEM and row.failed < row.n]


def _matched(first: _Side, second: _Side, names: Sequence[str] | None) -> list[tuple[_Row, _Row]]:
    """Returns pairs of rows of the same prompt share and part: those named, or with equal names.

    If each run has one system at every prompt share and part, their names need not be equal.
    """
    if names is not None:
        first_rows, second_rows = _named(first, names[0]), _named(second, names[1])
        pairs = [(a, b) for a in first_rows for b in second_rows if a.place == b.place]
    else:
        first_rows, second_rows = _systems(first), _systems(second)
        pairs = [(a, b) for a in first_rows for b in second_rows if a.name == b.name]
        lone = all(
            len({row.place for row in rows}) == len(rows) for rows in (first_rows, second_rows)
        )
        if not pairs and lone:
            pairs = [(a, b) for a in first_rows for b in second_rows if a.place == b.place]
    if not pairs:
        there = " and ".join(
            f"{side.run.name} has {', '.join(dict.fromkeys(row.name for row in rows)) or 'none'}"
            for side, rows in ((first, first_rows), (second, second_rows))
        )
        raise UserError(clean(f"compare: no two systems match: {there}; name two: --systems A B"))
    return pairs


def _unmatched(first: _Side, second: _Side, pairs: Sequence[tuple[_Row, _Row]]) -> tuple[str, ...]:
    """Returns the names of systems that are compared with no system of the other run."""
    matched = {id(row) for pair in pairs for row in pair}
    systems = (row for side in (first, second) for row in _systems(side))
    return tuple(dict.fromkeys(row.name for row in systems if id(row) not in matched))


def _doubt(first: _Row, second: _Row, folders: tuple[Path, Path]) -> str:
    """Returns a difference between the protocols of two comparable rows; "" if they are equal.

    Raises UserError if they are too different to compare.
    """
    try:
        # The numbers of items may differ, because only the items of both runs are compared.
        first_signature, second_signature = (
            replace(Signature(**row.signature), n=0, metrics=_metrics(row, beside))
            for row, beside in ((first, second), (second, first))
        )
    except (TypeError, KeyError) as error:
        raise UserError(
            f"{folders[0]}: written by another version; run: pixvox rescore JOB"
        ) from error
    grade = grade_measured(second_signature, first_signature, "the first run")
    if grade.mark == OTHER:
        first_folder, second_folder = folders
        raise UserError(
            clean(f"{second_folder} cannot be compared with {first_folder}: {grade.reason}")
        )
    return grade.reason if grade.mark == NEAR else ""


def _metrics(row: _Row, beside: _Row) -> str:
    """Returns a row's metrics without those of the user's own that the other row does not have."""
    names = {entry.partition("@")[0] for entry in beside.signature["metrics"].split(",")}
    entries = row.signature["metrics"].split(",")
    return ",".join(entry for entry in entries if entry.partition("@")[0] in names)


def _dataset(first: _Side, second: _Side) -> Dataset:
    data = first.run.dataset or second.run.dataset
    if data is None:
        raise UserError(clean(f"{first.run.folder}: cannot be compared: {first.run.lost}"))
    return data


def _counted(
    side: _Side, rows: Sequence[_Row], items: Sequence[str], data: Dataset
) -> list[Counted]:
    """Returns the metrics' statistics of the items for each row, averaged over its seeds.

    Scoring and cache are those of the run; the cache has most of the statistics already.
    """
    job, cache = side.job, side.run.folder / "cache"
    with Scorer(data, job.scoring, {}, cache, caption=job.caption) as scorer:
        return [_mean(side, row, items, scorer) for row in rows]


def _mean(side: _Side, row: _Row, items: Sequence[str], scorer: Scorer) -> Counted:
    wanted = pl.DataFrame({"item": items})
    parts = []
    for cell in row.cells:
        rows = side.run.rows.filter(cell=cell)
        texts = wanted.join(rows, on="item", how="left", maintain_order="left")
        if texts["tokens"].null_count():
            path = side.run.folder / "rows.parquet"
            raise UserError(f"{path}: does not have all rows of {row.name}; run the job again")
        parts.append(counted_rows(scorer, texts, side.run, side.cells.get(cell)))
    return parts[0].with_values(np.mean([part.values for part in parts], axis=0))


def _compared(first: _Side, second: _Side, names: Sequence[str] | None) -> Comparison:
    pairs = _matched(first, second, names)
    folders = (first.run.folder, second.run.folder)
    doubts = dict.fromkeys(doubt for a, b in pairs if (doubt := _doubt(a, b, folders)))
    data, resampling = _dataset(first, second), first.job.scoring.resampling
    counts = (len(first.items), len(second.items))
    shared = set(first.items) & set(second.items)
    items = [item.id for item in data.items if item.id in shared]
    if not items:
        raise UserError(f"compare: {first.run.name} and {second.run.name} have no item in common")
    first_counted = _counted(first, [a for a, _ in pairs], items, data)
    second_counted = _counted(second, [b for _, b in pairs], items, data)
    paired = [
        Paired(a.name if a.name == b.name else f"{a.name} and {b.name}", *counted)
        for (a, b), *counted in zip(pairs, first_counted, second_counted, strict=True)
    ]
    frame = paired_frame(paired, resampling)
    alone = _unmatched(first, second, pairs) if names is None else ()
    called = (first.run.name, second.run.name)
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
        units=tuple(
            dict.fromkeys(
                (score.name, score.unit)
                for pair in paired
                for score in pair.first.scores
                if score.unit != "percent" and score in pair.second.scores
            )
        ),
    )


def run(args: Namespace) -> int:
    """Prints how the second of two runs differs from the first; writes it as Markdown if asked.

    Raises UserError for runs that are not finished, whose data have changed, or whose protocols
    cannot be compared.
    """
    with disk_errors(args.runs):
        first, second = (_side(find(args.runs, name)) for name in args.names)
        shown = _compared(first, second, args.systems)
    show_comparison(shown, make_console())
    if args.out is not None:
        with disk_errors(args.out):
            write_text(args.out, comparison_markdown(shown))
        print(clean(f"{args.out}: the comparison as Markdown"))
    return 0
