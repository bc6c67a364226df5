"""The page's tables as a template wants them: the same rows, columns and notes as everywhere."""

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from bench.common.progress import duration
from bench.common.text import plural
from bench.jobs.tables import TABLES
from bench.report.notes import grouped, notes
from bench.report.page.finished import Finished
from bench.report.page.words import visible
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
from bench.scoring.taxonomy import KINDS

Plain = dict[str, Any]

GRADES = {
    "✓": "the same protocol as the first system's",
    "≈": "nearly the same protocol",
    "✗": "not to be ranked with the measured rows",
    "-": "no score to compare",
}


@dataclass(frozen=True)
class TableCell:
    """A table's cell: its text, and what is said of it where a person hovers or focuses it."""

    text: str
    tip: str = ""
    spread: str = ""
    left: bool = False
    best: bool = False
    significant: bool = False


def _cell(row: Plain, name: str) -> TableCell:
    if name == "grade":
        means = GRADES.get(row["grade"], "")
        reason = visible(" ".join((row["reason"] or "").split("\n")))
        return TableCell(row["grade"], f"{means}. {reason}" if reason else means)
    if not is_score(row, name):
        return TableCell(visible(plain(row, name)), left=name in LEFT)
    text, spread = score(row, name)
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    best, differs = (name in (row[kind] or []) for kind in ("best", "significant"))
    told = [] if low is None else [f"{name} {text}, interval {low:.2f} to {high:.2f}"]
    told += ["the best, or not told apart from the best"] if best else []
    told += [f"differs from {row['base']} at 5%"] if differs else []
    tip = visible("; ".join(told))
    return TableCell(text, tip, spread, best=best, significant=differs)


def _table(frame: pl.DataFrame, kind: str, run: Finished, title: str) -> Plain:
    names = columns(frame, kind)
    blocks = []
    for block in ("published", "measured"):
        part = frame.filter(pl.col("block") == block)
        if not part.is_empty():
            rows = [
                {
                    "cells": [_cell(row, name) for name in names],
                    "signature": visible(row["signature"] or ""),
                }
                for row in part.iter_rows(named=True)
            ]
            blocks.append({"title": visible(block_title(block, frame)), "rows": rows})
    heads = [{"text": HEADINGS.get(name, name), "left": name in LEFT} for name in names]
    heads[0]["text"] = "grade"
    return {
        "title": title,
        "heads": heads,
        "blocks": blocks,
        "notes": [
            {"group": group, "first": texts[0][0], "texts": [visible(text) for _, text in texts]}
            for group, texts in grouped(notes(frame, kind, run.protocol))
        ],
    }


def tables(run: Finished) -> Iterator[Plain]:
    """A run's tables of the job's own reading of the references."""
    for kind in TABLES:
        frame = run.tables.get(kind.name)
        if frame is not None and not frame.is_empty():
            yield _table(frame, kind.name, run, heading(kind.name, run.protocol))


def failures(run: Finished, labels: Sequence[str]) -> Plain:
    """How speech fails: a row a cell, a column a kind that any has, shares from 0 to 1."""
    shown = [kind for kind in KINDS if any(cell["kinds"].get(kind) for cell in run.cells)]
    return {
        "kinds": [{"name": kind, "meaning": KINDS[kind]} for kind in shown],
        "rows": [
            {"label": label, "n": cell["n"], "shares": [cell["kinds"][kind] for kind in shown]}
            for cell, label in zip(run.cells, labels, strict=True)
        ],
    }


def again(run: Finished) -> str:
    """Shell lines that make the run again: its job, which is JSON and so YAML, and the command."""
    file = shlex.quote(f"{run.name}.yaml")
    job = json.dumps({key: value for key, value in run.job.items() if value is not None})
    return f"cat > {file} <<'JOB'\n{job}\nJOB\npixvox run {file}"


def provenance(run: Finished, labels: Sequence[str]) -> Plain:
    """What a run stands on, and how to make it again."""
    p = run.protocol
    facts = {
        "images": p.images,
        "data": f"{p.data}, digest {p.dataset_digest}",
        "recordings": p.speech,
        "ASR": p.asr,
        "references": p.references,
        "normaliser": p.normaliser,
        "intervals": f"{p.confidence:.0%} bootstrap over images",
        "version": next((str(c["signature"].get("version", "")) for c in run.cells), ""),
    }
    if run.pace is not None:
        took = f"{plural(run.pace.rows, 'row')} in {duration(run.pace.seconds)}"
        facts["pace"] = f"{took}, when and where it ran: {run.pace.words}"
    signed = [
        {"label": label, "text": "|".join(f"{k}:{v or '-'}" for k, v in c["signature"].items())}
        for c, label in zip(run.cells, labels, strict=True)
    ]
    return {
        "name": visible(run.name),
        "facts": {key: visible(value) for key, value in facts.items()},
        "signatures": [{"label": s["label"], "text": visible(s["text"])} for s in signed],
        "command": again(run),
        "lost": visible(run.lost),
    }
