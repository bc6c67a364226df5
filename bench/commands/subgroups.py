"""`pixvox show subgroups`: a run's scores by groups of images from a CSV file, with intervals."""

import csv
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.commands.arguments import add_runs
from bench.commands.options import Parser, path, run_name
from bench.commands.runfolders import find
from bench.commands.scoredagain import counting, finished_systems, job_of
from bench.common.atomic import disk_errors, write_text
from bench.common.errors import UserError
from bench.common.text import clean, plural
from bench.datasets.base import Item, text_lines
from bench.datasets.csvfile import read_rows
from bench.metrics.base import SHORT
from bench.metrics.counted import Counted
from bench.metrics.loading import metrics_of
from bench.metrics.shipped import scores_of
from bench.report.files import csv as as_csv
from bench.report.page.finished import Finished, read_finished
from bench.report.terminal import make_console, say_lines, show_frame
from bench.scoring.inference import intervals
from bench.store.columns import Column, declared, schema

_KEYS = ("id", "item", "image")
"""Columns that may identify an image; the first one in the file is used."""
_FEWEST = 2

COLUMNS = (
    Column("system", pl.String, "The system, with its prompt share and part."),
    Column("group", pl.String, "The column's value."),
    Column("images", pl.Int64, "The number of scored images in the group."),
    Column("metric", pl.String, "The score."),
    Column("score", pl.Float64, "The score of these images, in percent or the metric's own unit."),
    Column("low", pl.Float64, "The lower end of its confidence interval, over images."),
    Column("high", pl.Float64, "The upper end of its confidence interval, over images."),
)


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("run", type=run_name, metavar="RUN", help="a finished run, or its folder")
    parser.add_argument("file", type=path, help="a CSV file with the column id, item or image")
    parser.add_argument("--by", required=True, metavar="COLUMN", help="its column with the groups")
    parser.add_argument("-o", "--out", type=path, help="write all scores as CSV")
    add_runs(parser)


def run(args: Namespace) -> int:
    """Prints the scores of every group."""
    return subgroups(args.runs, args.run, args.file, column=args.by, out=args.out)


def subgroups(runs: Path, name: str, file: Path, *, column: str, out: Path | None) -> int:
    """Prints the scores of every group of images, and writes them as CSV if asked.

    Raises UserError for an unfinished run or a file without these columns.
    """
    with disk_errors(runs):
        run = read_finished(find(runs, name))
        groups = read_groups(file, column, run.dataset.items if run.dataset else ())
        frame = subgroup_frame(run, groups)
    console = make_console()
    show_frame(_wide(frame, run), f"{run.name} by {column}: scores and their intervals", console)
    if left := _left_out(run, groups):
        say_lines(console, [left])
    if out is not None:
        with disk_errors(out):
            write_text(out, as_csv(frame))
        print(clean(f"{out}: all scores as CSV"))
    return 0


def read_groups(file: Path, column: str, items: tuple[Item, ...]) -> Mapping[str, str]:
    """Returns the value of a column for each item; raises UserError where an image has two."""
    header = next(csv.reader(text_lines(file)[:1]), [])
    key = next((name for name in _KEYS if name in header), _KEYS[0])
    ids = {name: item.id for item in items for name in (item.image.stem, item.image.name)}
    values: dict[str, str] = {}
    for line, row in read_rows(file, (key, column)):
        named = row[key] if key != "image" else Path(row[key]).name
        item = ids.get(named, named) if key == "image" else named
        if values.setdefault(item, row[column]) != row[column]:
            first = f"{values[item][:40]!r} and {row[column][:40]!r}"
            raise UserError(f"{file}:{line}: {item[:80]} has two values of {column}: {first}")
    return {item: value for item, value in values.items() if value}


def subgroup_frame(run: Finished, groups: Mapping[str, str]) -> pl.DataFrame:
    """Returns a row for each system, group and score; all seeds of a system are pooled by image."""
    items = sorted(run.rows["item"].unique())
    known = np.array([groups.get(item, "") for item in items])
    of_group = {value: known == value for value in np.unique(known).tolist() if value}
    of_group = {value: has for value, has in of_group.items() if has.sum() >= _FEWEST}
    if not of_group:
        raise UserError(
            clean(f"{run.folder}: no {_FEWEST} of its images share a value; name another column")
        )
    resampling = job_of(run).scoring.resampling
    rows: list[tuple[Any, ...]] = []
    with counting(run) as count:
        for system in finished_systems(run):
            cells = [count(cell) for cell in system.cells]
            values = np.sum([cell.values for cell in cells], axis=0)
            for value, has in of_group.items():
                counted: Counted = cells[0].with_values(values[has])
                of = (system.system + system.where, value, int(has.sum()))
                rows += [
                    (*of, name, estimate.score, estimate.low, estimate.high)
                    for name, estimate in intervals(counted, resampling).items()
                ]
    return declared(pl.DataFrame(rows, schema=schema(COLUMNS), orient="row"), COLUMNS)


def _wide(frame: pl.DataFrame, run: Finished) -> pl.DataFrame:
    """Returns a row for each system and group, with a column for each score of short tables."""
    scores = scores_of(metrics_of(job_of(run).scoring.metrics))
    shown = [score.name for score in scores if score.display_priority >= SHORT]
    text = pl.format(
        "{} [{}, {}]", *(pl.col(name).round(1).cast(pl.String) for name in ("score", "low", "high"))
    )
    shown_rows = frame.filter(pl.col("metric").is_in(shown)).with_columns(text=text)
    return shown_rows.pivot(on="metric", index=["system", "group", "images"], values="text")


def _left_out(run: Finished, groups: Mapping[str, str]) -> str:
    """Returns how many images are in no group that is shown."""
    items = run.rows["item"].unique().to_list()
    sizes = pl.Series([groups.get(item) for item in items], dtype=pl.String).value_counts()
    shown = sizes.drop_nulls().filter(pl.col("count") >= _FEWEST)["count"].sum()
    left = len(items) - int(shown)
    where = f"of {len(items)} in no group of {_FEWEST} or more"
    return f"{plural(left, 'image')} {where}." if left else ""
