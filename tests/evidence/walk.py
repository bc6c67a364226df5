"""The files that a row passes through, from its cell's scores to the printed and written table.

A job of one text system is run, and every call with the row among its arguments is recorded: its
scores, the row itself, or a frame or object that has it. A stay is an uninterrupted series of such
calls in one file.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

import polars as pl

import bench
from bench.cli import main as pixvox
from bench.commands.options import Parser
from bench.scoring.scorer import CellScores
from bench.tables.pooling import Row
from bench.tables.readings import ScoredReading
from bench.tables.results import ComparisonTable, RunTables
from tests.evidence.program import program

MOST = 15
"""Files that a row may pass on its way to Table I."""
OTHER_TABLES = frozenset(
    f"{name}.py"
    for name in (
        *("tables/audit", "tables/chance", "tables/failures", "tables/items", "tables/summary"),
        *("tables/sweep", "tables/waterfall", "report/small"),
    )
)
"""Files of other tables, which are given the row too."""
_HOLDERS = (CellScores, Row, ScoredReading, ComparisonTable, RunTables)
_ROOT = Path(bench.__file__).parent
_JOB = "name: walk\ndataset: {name: scenes}\nlimit: 2\ntables: [table1]\nsystems: [{kind: text}]\n"


def _holds_row(value: Any) -> bool:
    if isinstance(value, pl.DataFrame):
        return "block" in value.columns
    if isinstance(value, list | tuple):
        return any(map(_holds_row, value[:3]))
    return isinstance(value, _HOLDERS)


@contextmanager
def _recorded(files: list[str]) -> Iterator[None]:
    """Appends the file of every call within the suite that is given the row."""

    def record(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(str(_ROOT)):
            return
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if any(_holds_row(frame.f_locals.get(name)) for name in names):
            files.append(str(Path(code.co_filename).relative_to(_ROOT)))

    before = sys.getprofile()
    sys.setprofile(record)
    try:
        yield
    finally:
        sys.setprofile(before)


def walked() -> list[str]:
    """Returns the files of the calls that were given the row, in order."""
    files: list[str] = []
    with tempfile.TemporaryDirectory() as name, redirect_stdout(StringIO()):
        job = Path(name) / "walk.yaml"
        job.write_text(_JOB)
        with _recorded(files):
            code = pixvox(["run", str(job), "--runs", str(Path(name) / "runs")])
    assert code == 0
    return files


def main(words: Sequence[str]) -> int:
    """Prints the files, and how many stays there are; returns 3 for more files than MOST."""
    parser = Parser(prog="python -m tests.evidence.walk", description=__doc__)
    parser.parse_args(words)
    files = walked()
    stays = [file for file, _ in groupby(file for file in files if file not in OTHER_TABLES)]
    for file in dict.fromkeys(stays):
        print(f"{file}: {stays.count(file)} stays")
    distinct, every = len(set(stays)), len(set(files))
    print(f"{distinct} files (at most {MOST}), {len(stays)} stays; with other tables {every} files")
    return 0 if distinct <= MOST else 3


if __name__ == "__main__":
    program(main)
