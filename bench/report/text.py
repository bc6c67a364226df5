"""Cells of a table as text, the same in every format."""

from typing import Any

import polars as pl

from bench.common.text import clean
from bench.jobs.tables import table_of
from bench.tables.comparison import heads
from bench.tables.protocol import Protocol

LEFT = ("grade", "system", "training")
"""Columns whose text begins at the left."""
HEADINGS = {"grade": ""}
_LOPSIDED, _WIDE = 0.5, 0.5
"""Shares of an interval's half by which its middle is off, and of a score that the half is."""


def columns(frame: pl.DataFrame, table: str) -> list[str]:
    """Returns which columns a table shows."""
    return ["grade", "system", table_of(table).column, *heads(frame), "n", "failed"]


def heading(table: str, protocol: Protocol) -> str:
    """A table's heading, with what is unusual about the references that it is scored against."""
    reading = "" if protocol.references == "others" else ", scored against all references"
    return table_of(table).title + reading


def score(row: dict[str, Any], name: str) -> tuple[str, str]:
    """Returns a score as papers print it, "-" where there is none, and what its interval is.

    That is `±` half of its width; `[low, high]` where a half would mislead: the score is not in
    the middle, or not much larger than the half; nothing where whatever is drawn gives the same.
    """
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return "-", ""
    half = 0.0 if low is None else (high - low) / 2
    if half < 0.05:
        return f"{value:z.2f}", ""
    if abs(high + low - 2 * value) > _LOPSIDED * half or half > _WIDE * abs(value):
        return f"{value:z.2f}", f"[{low:.1f}, {high:.1f}]"
    return f"{value:z.2f}", f"±{half:.1f}"


def plain(row: dict[str, Any], name: str) -> str:
    """Returns a cell that is no score."""
    value = row[name]
    if name == "prompt":
        return f"{value:.0%}"
    return "-" if value is None else clean(str(value))


def is_score(row: dict[str, Any], name: str) -> bool:
    """Returns whether a column of the row's table holds scores with intervals."""
    return f"{name}_low" in row


def block_title(block: str, frame: pl.DataFrame) -> str:
    """Returns a block's heading: whether measured or published, and on which dataset."""
    names = ", ".join(sorted(frame.filter(pl.col("block") == block)["dataset"].unique()))
    return f"{block}, on {clean(names)}"
