"""Tables for a terminal, by rich."""

import io
import os
import re
import sys
from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.text import Text

from bench.common.atomic import write_text
from bench.common.text import clean
from bench.metrics.base import ALWAYS, SHORT
from bench.metrics.shipped import KNOWN
from bench.report.fit import (
    GAP,
    Column,
    first_fit,
    full_width,
    numbers,
    pieces,
    rich_table,
    texts,
    wrapped,
)
from bench.report.notes import Note, grouped, notes
from bench.report.text import HEADINGS, LEFT, block_title, columns, heading, is_score, plain
from bench.report.text import score as score_text
from bench.tables.comparison import heads
from bench.tables.protocol import Protocol

PIPED = 144
"""The fewest characters of a line in the picture of a run's tables."""
UNCUT = 10_000
"""Characters of a line if neither a terminal nor COLUMNS has a width: in a file or pipe, nothing is
dropped or wrapped."""
NOTES = 105
"""The most characters of a line of notes, with its number."""
NARROWEST = 40
"""A narrower terminal is treated as if it had this width."""


def _width() -> int:
    said = os.environ.get("COLUMNS", "")
    if said.isascii() and said.isdecimal() and int(said[:6]):
        return int(said[:6])
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or UNCUT
    except (OSError, ValueError):
        return UNCUT


def _console(width: int, **options: Any) -> Console:
    # With a height too, rich does not read the environment, which may have any value.
    return Console(width=width, height=25, highlight=False, emoji=False, **options)


def make_console() -> Console:
    """Returns a console as wide as COLUMNS or the terminal; UNCUT without either."""
    return _console(max(_width(), NARROWEST))


def make_picture(width: int) -> Console:
    """Returns a console that prints nothing and records everything for `save_picture`."""
    return _console(width, record=True, file=io.StringIO())


def say(console: Console, line: str, style: str = "") -> None:
    """Prints a line that contains foreign text."""
    console.print(Text(clean(line), style=style))


def draw(console: Console, columns: Sequence[Column], title: str = "") -> None:
    """Prints a table below its title, in the width of the console.

    A table that cannot be made so narrow is printed wider: no cell is truncated.
    """
    if title:
        say(console, title, "italic")
    table = rich_table(columns, console.width)
    needed = sum(c.width or 0 for c in table.columns) + GAP * (len(columns) - 1)
    before = console.width
    console.width = max(needed, before)
    console.print(table)
    console.width = before


def _score(row: dict[str, Any], name: str, halves: bool) -> Text:
    value, spread = score_text(row, name)
    text = Text(value, style="bold" if name in (row["best"] or []) else "")
    if spread and halves:
        text.append(spread, style="dim")
    if name in (row["significant"] or []):
        text.append("*")
    return text


def _column(rows: Sequence[dict[str, Any]], name: str, halves: bool) -> Column:
    head = HEADINGS.get(name, name)
    if rows and is_score(rows[0], name):
        return Column(head, [_score(row, name, halves) for row in rows])
    column = texts if name in LEFT else numbers
    return column(head, [plain(row, name) for row in rows])


def _order(frame: pl.DataFrame) -> list[tuple[str, ...]]:
    """Returns the columns that are dropped if the width is too small, in order.

    Roles, which the notes repeat; details; scores by their display priority, with the intervals
    after the first ones; a column of zeros. Failed items, and the only column with a star, are
    last.
    """
    level_by_head = {score.head: score.display_priority for score in KNOWN}
    level_of = {name: level_by_head.get(name, SHORT + 1) for name in heads(frame)}
    starred = {name for row in frame["significant"].drop_nulls() for name in row} & set(level_of)
    only = max(starred, key=lambda name: level_of[name], default="")
    if only and level_of[only] < ALWAYS:
        del level_of[only]
    scores = [
        tuple(name for name, at in level_of.items() if at == level) for level in range(ALWAYS)
    ]
    failed: list[tuple[str, ...]] = [("failed",)]
    details = tuple(name for name, at in level_of.items() if at < 0)
    first, tail = scores[:2], scores[2:]
    ends = tail + failed if frame["failed"].fill_null(0).sum() else failed + tail
    last = [(only,)] if only and only not in level_of else []
    return [("training",), *([details] if details else []), *first, ("±",), *ends, *last]


def _build(frame: pl.DataFrame, names: Sequence[str], left_out: Sequence[str]) -> list[Column]:
    rows = frame.to_dicts()
    shown = [name for name in names if name not in left_out]
    return [_column(rows, name, "±" not in left_out) for name in shown]


def widest(frame: pl.DataFrame, table: str) -> int:
    """Returns a table's width in characters with all its columns."""
    return full_width(_build(frame, columns(frame, table), ()))


def show(
    frame: pl.DataFrame,
    table: str,
    protocol: Protocol,
    console: Console,
    *,
    printed: list[Note] | None = None,
) -> None:
    """Prints a table, with its blocks separated, and its notes.

    Columns that do not fit are dropped and named; the mark, the system's name and n stay. For notes
    that an earlier table has `printed`, only the numbers are printed; new notes are added to them.
    """
    say(console, heading(table, protocol), "bold")
    names = columns(frame, table)
    order = [tuple(n for n in group if n in (*names, "±")) for group in _order(frame)]
    _, left_out = first_fit(
        lambda out: _build(frame, names, out), [group for group in order if group], console.width
    )
    for block in ("published", "measured"):
        part = frame.filter(pl.col("block") == block)
        if not part.is_empty():
            shown = _build(part, names, left_out)
            draw(console, shown, block_title(block, frame))
            console.print()
    if left_out:
        where = f"all columns are in tables/{table}.csv"
        out = ", ".join(left_out)
        say(console, f"Left out to fit {console.width} characters: {out}; {where}.", "dim")
    say_notes(console, notes(frame, table, protocol, left_out), printed)
    console.print()


def say_notes(console: Console, said: Sequence[Note], printed: list[Note] | None = None) -> None:
    """Prints notes below their groups' names, numbered after those of `printed`."""
    known = [] if printed is None else printed
    number_of = {text: n for n, note in enumerate(known, 1) for text in note.sentences}
    again = sorted(
        {number_of[text] for note in said for text in note.sentences if text in number_of}
    )
    if again:
        holds = "Note {} above holds" if len(again) == 1 else "Notes {} above hold"
        say(console, f"{holds.format(ranges(again))} here too.", "dim")
    left = (
        replace(note, sentences=tuple(text for text in note.sentences if text not in number_of))
        for note in said
    )
    fresh = [note for note in left if note.sentences]
    for group, members in grouped(fresh, len(known) + 1):
        say(console, group, "dim bold")
        for number, text in members:
            first, *rest = wrapped(text, min(console.width, NOTES) - 5)
            say(console, f"{number:3}. {first}", "dim")
            for line in rest:
                console.print(Text(f"     {line}", style="dim"))
    known += fresh


def say_lines(console: Console, lines: Sequence[str]) -> None:
    """Prints sentences, each wrapped to the width of notes, and a blank line after them."""
    for line in lines:
        for part in wrapped(clean(line), min(console.width, NOTES)):
            console.print(Text(part))
    console.print()


def ranges(numbers: Sequence[int]) -> str:
    """Returns rising numbers in words: `1 to 3, 5 and 6`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words = [
        word
        for run in runs
        for word in ([f"{run[0]} to {run[-1]}"] if len(run) > 2 else map(str, run))
    ]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


class Listing:
    """Rows that are printed later. Columns whose heads are among `names` may be wrapped."""

    def __init__(self, heads: Sequence[str], names: Container[str], title: str = "") -> None:
        self.heads, self.names, self.title = heads, names, title
        self.rows: list[tuple[object, ...]] = []

    def add_row(self, *values: object) -> None:
        """Adds a row with a value for every column."""
        self.rows.append(values)

    def print(self) -> None:
        """Prints the rows in the width of the console."""
        columns = [
            (texts if head in self.names else numbers)(head, [row[place] for row in self.rows])
            for place, head in enumerate(self.heads)
        ]
        draw(make_console(), columns, self.title)


def _shown(value: object) -> str:
    return "-" if value is None else f"{value:z.2f}" if isinstance(value, float) else str(value)


def frame_columns(frame: pl.DataFrame) -> list[Column]:
    """Returns the columns of any small frame, with numbers to two decimals."""
    return [
        (numbers if kind.is_numeric() else texts)(name, map(_shown, frame[name]))
        for name, kind in frame.schema.items()
    ]


def show_frame(frame: pl.DataFrame, title: str, console: Console) -> None:
    """Prints any small frame, in several parts if it is too wide."""
    if frame.is_empty():
        return
    for number, piece in enumerate(pieces(frame_columns(frame), console.width)):
        draw(console, piece, title if number == 0 else "")
        console.print()


def save_picture(console: Console, title: str, path: Path) -> None:
    """Saves what a recording console has printed as an SVG without external references."""
    svg = console.export_svg(title=clean(title))
    write_text(path, re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL))
