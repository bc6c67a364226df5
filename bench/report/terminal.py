"""Tables for a terminal, by rich."""

import re
import sys
from pathlib import Path
from typing import Any

import polars as pl
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bench.comparison import TITLES, Protocol
from bench.report.text import HEADINGS, LEFT, block_title, clean, columns, is_score, notes, plain
from bench.report.text import score as score_text

WIDE = 150
"""Characters from which the column `training` is shown too."""


def make_console(record: bool = False) -> Console:
    """A console for tables; without a terminal, rich's 80 characters are too few for scores."""
    width = None if sys.stdout.isatty() else 144
    return Console(width=width, record=record, highlight=False)


def _score(row: dict[str, Any], name: str) -> Text:
    value, half = score_text(row, name)
    text = Text(value, style="bold" if name in (row["best"] or []) else "")
    if half:
        text.append(f"±{half}", style="dim")
    if name in (row["significant"] or []):
        text.append("*")
    return text


def show(frame: pl.DataFrame, table: str, protocol: Protocol, console: Console) -> None:
    """Prints a table, its blocks apart, and its notes."""
    console.print(TITLES[table], style="bold")
    hidden = {"training"} if console.width < WIDE else set()
    names = [name for name in columns(table) if name not in hidden]
    for block in ("published", "measured"):
        part = frame.filter(pl.col("block") == block)
        if part.is_empty():
            continue
        shown = Table(
            title=escape(block_title(block, frame)),
            title_justify="left",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
        )
        for name in names:
            left = name in LEFT
            justify = "left" if left else "right"
            shown.add_column(HEADINGS.get(name, name), justify=justify, no_wrap=not left)  # type: ignore[arg-type]
        for row in part.iter_rows(named=True):
            shown.add_row(*(_score(row, n) if is_score(n) else Text(plain(row, n)) for n in names))
        console.print(shown)
    for line in notes(frame, protocol):
        console.print(escape(line), style="dim", highlight=False)
    console.print()


def show_frame(frame: pl.DataFrame, title: str, console: Console) -> None:
    """Prints any small frame: numbers to two places, text inert."""
    if frame.is_empty():
        return
    shown = Table(title=escape(title), title_justify="left", box=box.SIMPLE_HEAD)
    for name, kind in frame.schema.items():
        shown.add_column(escape(name), justify="right" if kind.is_numeric() else "left")
    for row in frame.iter_rows():
        shown.add_row(*(f"{v:.2f}" if isinstance(v, float) else escape(clean(str(v))) for v in row))
    console.print(shown)


def save_picture(console: Console, title: str, path: Path) -> None:
    """Saves all that a recording console has printed as an SVG that fetches nothing."""
    svg = console.export_svg(title=title)
    path.write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL), encoding="utf-8")
