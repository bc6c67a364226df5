"""The table for a terminal, by rich."""

import re
from pathlib import Path

import polars as pl
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bench.comparison import TITLES, Protocol
from bench.report.text import block_title, cells, columns, notes

WIDE = 112
"""Characters from which the column `training` is shown too."""


def show(frame: pl.DataFrame, table: str, protocol: Protocol, console: Console) -> None:
    """Prints a table, its blocks apart, and its notes."""
    console.print(TITLES[table], style="bold")
    names = columns(table)
    hidden = {"training"} if console.width < WIDE else set()
    for block in ("published", "measured"):
        part = frame.filter(pl.col("block") == block)
        if part.is_empty():
            continue
        shown = Table(
            title=escape(block_title(block, frame)), title_justify="left", box=box.SIMPLE_HEAD
        )
        for name in names:
            if name not in hidden:
                left = name in ("system", "training")
                shown.add_column(name, justify="left" if left else "right", no_wrap=not left)
        for row in part.iter_rows(named=True):
            texts = zip(names, cells(row, table), strict=True)
            shown.add_row(*(escape(text) for name, text in texts if name not in hidden))
        console.print(shown)
    for line in notes(frame, protocol):
        console.print(escape(line), style="dim", highlight=False)
    console.print()


def save_picture(console: Console, title: str, path: Path) -> None:
    """Saves all that a recording console has printed as an SVG that fetches nothing."""
    svg = console.export_svg(title=title)
    path.write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL), encoding="utf-8")
