"""Cells of a table as text, the same in every format."""

from typing import Any

import polars as pl

from bench.common.text import clean
from bench.jobs.tables import table_of
from bench.tables.comparison import heads
from bench.tables.protocol import Protocol

LEFT = ("grade", "system", "training")
"""Columns whose text is aligned left."""
HEADINGS = {"grade": ""}
_LOPSIDED, _WIDE = 0.5, 0.5
"""An interval is asymmetric if its middle differs from the score by the first share of its half,
and wide if its half is the second share of the score."""


def columns(frame: pl.DataFrame, table: str) -> list[str]:
    """Returns the columns that a table shows."""
    return ["grade", "system", table_of(table).column, *heads(frame), "n", "failed"]


def heading(table: str, protocol: Protocol) -> str:
    """Returns a table's heading, with a remark if its references are not the usual ones."""
    reading = "" if protocol.references == "others" else ", scored against all references"
    return table_of(table).title + reading


def score(row: dict[str, Any], name: str) -> tuple[str, str]:
    """Returns a score as text, "-" for null, and its interval as text.

    The interval is `±` half of its width; `[low, high]` if a half would mislead, because the score
    is not in the middle or not much larger than the half; "" if all replicates are equal.
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
    """Returns the text of a cell that is not a score."""
    value = row[name]
    if name == "prompt":
        return f"{value:.0%}"
    return "-" if value is None else clean(str(value))


def is_score(row: dict[str, Any], name: str) -> bool:
    """Returns whether a column of the row's table has scores with intervals."""
    return f"{name}_low" in row


def block_title(block: str, frame: pl.DataFrame) -> str:
    """Returns a block's heading: whether measured or published, and on which dataset."""
    names = ", ".join(sorted(frame.filter(pl.col("block") == block)["dataset"].unique()))
    return f"{block}, on {clean(names)}"
