"""Cells of a table as text, the same in every format."""

import re
from typing import Any

import polars as pl

from bench.comparison import SCORES, Protocol

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """Text without control characters, which could drive a terminal or break a table."""
    return _CONTROL.sub(" ", text)


def number(value: Any) -> str:
    """A score as papers print it, "-" where there is none."""
    return "-" if value is None else f"{value:.2f}"


def columns(table: str) -> list[str]:
    """Which columns a table shows."""
    leading = ["prompt"] if table == "table2" else ["training"]
    tail = ["WER"] if table == "table1" else []
    return ["system", *leading, *SCORES, *tail, "n", "failed"]


def cells(row: dict[str, Any], table: str) -> list[str]:
    """One row's cells in the order of `columns`."""
    shown = []
    for name in columns(table):
        value = row[name]
        if name == "prompt":
            shown.append(f"{value:.0%}")
        elif name in SCORES or name == "WER":
            shown.append(number(value))
        else:
            shown.append("-" if value is None else clean(str(value)))
    return shown


def block_title(block: str, frame: pl.DataFrame) -> str:
    """A block's heading: whether measured or published, and on which dataset."""
    names = ", ".join(sorted(frame.filter(pl.col("block") == block)["dataset"].unique()))
    return f"{block}, on {clean(names)}"


def _at(prompt: float) -> str:
    return f" at {prompt:.0%}" if prompt else ""


def notes(frame: pl.DataFrame, protocol: Protocol) -> list[str]:
    """What stands under a table: protocol, sources, doubts, failures."""
    count = protocol.unusable
    unusable = f"; {count} entries of the split cannot be scored" if count else ""
    lines = [
        f"Measured: {protocol.dataset} {protocol.split} ({protocol.dataset_digest}), "
        f"{protocol.items} of {protocol.of} images, speech: {protocol.speech}; "
        f"ASR: {protocol.asr}; references: {protocol.references}; "
        f"failed items count as empty transcripts{unusable}.",
        "Blocks are on different datasets and protocols: nothing is ranked across them.",
    ]
    published = frame.filter(pl.col("block") == "published")
    lines += [f"Published: {s}." for s in published["source"].unique(maintain_order=True)]
    lines += [
        f"{clean(row['system'])}{_at(row['prompt'])}: {clean(row['note'])}."
        for row in frame.iter_rows(named=True)
        if row["note"]
    ]
    return lines
