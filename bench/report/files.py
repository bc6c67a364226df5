"""The table as files: Markdown for people, CSV for programs."""

import html
import re
from pathlib import Path

import polars as pl

from bench.comparison import TITLES, Protocol
from bench.report.text import block_title, cells, clean, columns, notes

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~$])")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def inert_markdown(text: str) -> str:
    """Text that Markdown shows and does not act on."""
    return _MARKDOWN.sub(r"\\\1", html.escape(clean(text), quote=False))


def markdown(frame: pl.DataFrame, table: str, protocol: Protocol) -> str:
    """A table as GitHub Markdown."""
    names = columns(table)
    aligned = [":--" if name in ("system", "training") else "--:" for name in names]
    lines = [f"### {TITLES[table]}", ""]
    for block in ("published", "measured"):
        part = frame.filter(pl.col("block") == block)
        if part.is_empty():
            continue
        lines += [f"**{inert_markdown(block_title(block, frame))}**", ""]
        lines += [f"| {' | '.join(names)} |", f"|{'|'.join(aligned)}|"]
        for row in part.iter_rows(named=True):
            shown = (c if c == "-" else inert_markdown(c) for c in cells(row, table))
            lines.append(f"| {' | '.join(shown)} |")
        lines.append("")
    lines += [f"- {inert_markdown(line)}" for line in notes(frame, protocol)]
    return "\n".join(lines) + "\n"


def csv(frame: pl.DataFrame) -> str:
    """A table as CSV, full precision; text that a spreadsheet would run is quoted as text."""
    text = [name for name, kind in frame.schema.items() if kind == pl.String]
    safe = frame.with_columns(
        pl.col(name).map_elements(
            lambda v: f"'{clean(v)}" if v.startswith(_FORMULA) else clean(v), return_dtype=pl.String
        )
        for name in text
    )
    return safe.write_csv()


def write(frame: pl.DataFrame, table: str, protocol: Protocol, folder: Path) -> None:
    """Writes `TABLE.md` and `TABLE.csv` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{table}.md").write_text(markdown(frame, table, protocol), encoding="utf-8")
    (folder / f"{table}.csv").write_text(csv(frame), encoding="utf-8")
