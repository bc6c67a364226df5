"""Writes a run's tables and other derived files, and prints its tables; computes nothing."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import polars as pl
from rich.console import Console

from bench.common.atomic import parquet, write_bytes, write_text
from bench.common.figures import save_figure
from bench.jobs.spec import Reading
from bench.jobs.tables import known_tables
from bench.report import files, hub, small, terminal
from bench.report.figures import heat_figure, sweep_figure
from bench.report.fit import full_width
from bench.report.notes import Note
from bench.report.sweeps import bests
from bench.tables.points import choices
from bench.tables.results import ComparisonTable, RunTables

_FIGURES = ("sweep.svg", "sweep-heat.svg")


def write_results(tables: RunTables, folder: Path) -> None:
    """Writes every table, and all files derived from them, below the run's folder."""
    target = folder / "tables"
    target.mkdir(parents=True, exist_ok=True)
    _remove_old(target)
    write_bytes(folder / "rows.parquet", parquet(tables.items))
    write_bytes(folder / "scores.parquet", parquet(tables.scores))
    for table in tables.comparisons:
        files.write(table, target)
    for part in small.small_tables(tables):
        files.write_frame(part.frame, part.name, part.title, target)
    if tables.audit_items is not None:
        write_bytes(target / "audit-items.parquet", parquet(tables.audit_items))
    if tables.points is not None:
        _write_points(tables.points, target)
    index = hub.model_index(tables.competing, tables.readings[0].protocol)
    write_text(target / "model-index.yaml", index)
    write_text(folder / "summary.json", json.dumps(tables.summary, indent=1) + "\n")


def _remove_old(target: Path) -> None:
    """Removes tables of the same run with other options, which would seem to be current."""
    for kind in known_tables().values():
        files.remove(kind.name, target)
        for name in get_args(Reading):
            files.remove(f"{kind.name}-{name}", target)
    for name in small.NAMES:
        files.remove(name, target)
    for name in (*_FIGURES, *(f"points.{suffix}" for suffix in ("md", "csv", "parquet"))):
        (target / name).unlink(missing_ok=True)


def _write_points(frame: pl.DataFrame, target: Path) -> None:
    title = "The sweep's points: all seeds pooled, as in the tables"
    files.write_frame(frame, "points", title, target)
    for name, figure in zip(_FIGURES, (sweep_figure(frame), heat_figure(frame)), strict=True):
        if figure is not None:
            save_figure(figure, target / name)


@dataclass(frozen=True)
class _Shown:
    """A table: a function that prints it below earlier notes, and its full width."""

    show: Callable[[Console, list[Note]], None]
    width: int


def print_results(tables: RunTables, folder: Path) -> None:
    """Prints the tables as the terminal has room, and saves a picture of the complete tables."""
    shown = list(_shown(tables))
    picture = terminal.make_picture(max([terminal.PIPED, *(table.width for table in shown)]))
    for console in (terminal.make_console(), picture):
        printed: list[Note] = []
        for table in shown:
            table.show(console, printed)
        if not shown:
            terminal.say(console, "No system of this job belongs to the tables that it asks for.")
    title = f"pixvox run {tables.job.name}"
    terminal.save_picture(picture, title, folder / "tables" / "tables.svg")


def _shown(tables: RunTables) -> Iterator[_Shown]:
    for table in tables.comparisons:
        yield _Shown(partial(_show, table), terminal.widest(table.frame, table.table))
    for part in small.small_tables(tables):
        if part.shown is not None:
            width = full_width(terminal.frame_columns(part.shown))
            yield _Shown(partial(_show_small, part.shown, part.title), width)
        if part.line:
            yield _Shown(partial(_say, part.line), 0)
    # With one point for a prompt share there is nothing to choose from.
    if tables.points is not None and choices(tables.points) != ["prompt"]:
        yield _Shown(partial(_say_lines, [best.sentence for best in bests(tables.points)]), 0)


def _show(table: ComparisonTable, console: Console, printed: list[Note]) -> None:
    terminal.show(table.frame, table.table, table.protocol, console, printed=printed)


def _show_small(frame: pl.DataFrame, title: str, console: Console, _: list[Note]) -> None:
    terminal.show_frame(frame, title, console)


def _say(line: str, console: Console, _: list[Note]) -> None:
    terminal.say(console, line)


def _say_lines(lines: Sequence[str], console: Console, _: list[Note]) -> None:
    terminal.say_lines(console, lines)
