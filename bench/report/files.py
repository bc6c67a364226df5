"""Writes a table as files: Markdown and LaTeX for people, CSV, Parquet and JSON for programs."""

from pathlib import Path
from typing import Any

import polars as pl

from bench.common.atomic import parquet, write_bytes, write_text
from bench.common.text import clean, inert_markdown
from bench.report.latex import latex
from bench.report.notes import grouped, notes
from bench.report.text import (
    HEADINGS,
    LEFT,
    block_title,
    columns,
    heading,
    is_score,
    plain,
    score,
)
from bench.tables.protocol import Protocol
from bench.tables.results import ComparisonTable

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def _cell(row: dict[str, Any], name: str) -> str:
    if not is_score(row, name):
        text = plain(row, name)
        return text if text == "-" else inert_markdown(text)
    value, spread = score(row, name)
    text = f"**{value}**" if name in (row["best"] or []) else value
    text += f" {inert_markdown(spread)}" if spread else ""
    return text + (r"\*" if name in (row["significant"] or []) else "")


def markdown(frame: pl.DataFrame, table: str, protocol: Protocol) -> str:
    """Returns a table as GitHub Markdown."""
    names = columns(frame, table)
    aligned = [":--" if name in LEFT else "--:" for name in names]
    lines = [f"### {heading(table, protocol)}", ""]
    for block in ("published", "measured"):
        part = frame.filter(pl.col("block") == block)
        if part.is_empty():
            continue
        lines += [f"**{inert_markdown(block_title(block, frame))}**", ""]
        headings = " | ".join(HEADINGS.get(name, name) for name in names)
        lines += [f"| {headings} |", f"|{'|'.join(aligned)}|"]
        for row in part.iter_rows(named=True):
            lines.append(f"| {' | '.join(_cell(row, name) for name in names)} |")
        lines.append("")
    for group, texts in grouped(notes(frame, table, protocol)):
        lines += [f"**{group}**", ""]
        lines += [*(f"{number}. {inert_markdown(text)}" for number, text in texts), ""]
    return "\n".join(lines[:-1]) + "\n"


def plain_markdown(frame: pl.DataFrame, title: str) -> str:
    """Returns any small frame as GitHub Markdown; numbers to two decimals."""
    lines = [f"### {inert_markdown(title)}", "", f"| {' | '.join(frame.columns)} |"]
    aligned = ["--:" if kind.is_numeric() else ":--" for kind in frame.schema.values()]
    lines.append(f"|{'|'.join(aligned)}|")
    for row in frame.iter_rows():
        cells = (
            f"{v:z.2f}" if isinstance(v, float) else inert_markdown("-" if v is None else str(v))
            for v in row
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def csv(frame: pl.DataFrame) -> str:
    """Returns a frame as CSV in full precision; text that a spreadsheet would run is escaped."""
    lists = [name for name, kind in frame.schema.items() if kind == pl.List(pl.String)]
    flat = frame.with_columns(pl.col(name).list.join(" ") for name in lists)
    text = [name for name, kind in flat.schema.items() if kind == pl.String]
    safe = flat.with_columns(
        pl.col(name).map_elements(
            lambda v: f"'{clean(v)}" if v.startswith(_FORMULA) else clean(v), return_dtype=pl.String
        )
        for name in text
    )
    return safe.write_csv()


def write(table: ComparisonTable, folder: Path) -> None:
    """Writes a table into a folder as `.md`, `.tex`, `.csv`, `.json` and `.parquet`."""
    name, frame = table.file, table.frame
    write_text(folder / f"{name}.md", markdown(frame, table.table, table.protocol))
    write_text(folder / f"{name}.tex", latex(frame, table.table, table.protocol))
    write_text(folder / f"{name}.csv", csv(frame))
    write_text(folder / f"{name}.json", frame.write_json())
    write_bytes(folder / f"{name}.parquet", parquet(frame))


def remove(table: str, folder: Path) -> None:
    """Removes the files of a table that the job no longer has."""
    for suffix in ("md", "tex", "csv", "json", "parquet"):
        (folder / f"{table}.{suffix}").unlink(missing_ok=True)


def write_frame(frame: pl.DataFrame, name: str, title: str, folder: Path) -> None:
    """Writes any small frame as Markdown, CSV and Parquet."""
    write_text(folder / f"{name}.md", plain_markdown(frame, title))
    write_text(folder / f"{name}.csv", csv(frame))
    write_bytes(folder / f"{name}.parquet", parquet(frame))
