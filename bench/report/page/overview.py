"""The page's tables for its template, with the same rows, columns and notes as elsewhere."""

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import polars as pl

from bench.common.progress import duration
from bench.common.text import plural
from bench.jobs.spec import Reading
from bench.jobs.tables import known_tables
from bench.metrics.shipped import METRICS, scores_of
from bench.report.files import csv
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
from bench.tables.protocol import Protocol

Plain = dict[str, Any]

GRADES = {
    "✓": "the same protocol as the first system's",
    "≈": "nearly the same protocol",
    "✗": "not to be ranked with the measured rows",
    "-": "no score to compare",
}


@dataclass(frozen=True, kw_only=True)
class TableCell:
    """A table's cell: its text, and an explanation that is shown on hover or focus.

    A column is sorted by `value` in place of the text. `share`, 0 to 1, is drawn as a bar.
    """

    text: str
    tip: str = ""
    spread: str = ""
    left: bool = False
    best: bool = False
    significant: bool = False
    value: float | None = None
    share: float | None = None


@dataclass(frozen=True, kw_only=True)
class TableHead:
    """A column's heading; one that is `aside` is below the row's name on narrow screens."""

    text: str
    tip: str = ""
    left: bool = False
    aside: bool = False
    hidden: bool = False


@dataclass(frozen=True, kw_only=True)
class PageTable:
    """A table of the page; `file` and `csv` are its download.

    `name` is the index of the column with the rows' names, and `alike` are values that all rows
    share. A block may have a title.
    """

    title: str
    heads: tuple[TableHead, ...]
    blocks: tuple[Plain, ...]
    file: str
    csv: str
    name: int = 0
    notes: tuple[Plain, ...] = ()
    alike: str = ""


def _cell(row: Plain, name: str) -> TableCell:
    if name == "grade":
        means = GRADES.get(row["grade"], "")
        reason = visible("; ".join((row["reason"] or "").split("\n")))
        return TableCell(text=row["grade"], tip=f"{means}. {reason}" if reason else means)
    if not is_score(row, name):
        value = row[name] if isinstance(row[name], int | float) else None
        return TableCell(text=visible(plain(row, name)), left=name in LEFT, value=value)
    text, spread = score(row, name)
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    best, differs = (name in (row[kind] or []) for kind in ("best", "significant"))
    said = [] if low is None else [f"{name} {text}, interval {low:.2f} to {high:.2f}"]
    said += ["the best, or not told apart from the best"] if best else []
    said += [f"differs from {row['base']} at 5%"] if differs else []
    tip = visible("; ".join(said))
    return TableCell(
        text=text, tip=tip, spread=spread, best=best, significant=differs, value=row[name]
    )


def _table(frame: pl.DataFrame, kind: str, protocol: Protocol, file: str) -> PageTable:
    names = columns(frame, kind)
    blocks = []
    for block in ("published", "measured"):
        part = frame.filter(pl.col("block") == block)
        if not part.is_empty():
            rows = [[_cell(row, name) for name in names] for row in part.iter_rows(named=True)]
            blocks.append({"title": visible(block_title(block, frame)), "rows": rows})
    full = {score.head: score.name for score in scores_of(METRICS) if score.head != score.name}
    full |= {head: f"{name}, {unit}" for head, name, unit in protocol.legend}
    heads = (
        TableHead(
            text=HEADINGS.get(name, name) or name,
            tip=full.get(name, ""),
            left=name in LEFT,
            aside=number == 2,
            hidden=name == "grade",
        )
        for number, name in enumerate(names)
    )
    return PageTable(
        title=heading(kind, protocol),
        heads=tuple(heads),
        blocks=tuple(blocks),
        file=f"{file}.csv",
        csv=csv(frame),
        name=1,
        notes=tuple(
            {"group": group, "first": texts[0][0], "texts": [visible(text) for _, text in texts]}
            for group, texts in grouped(notes(frame, kind, protocol))
        ),
    )


def tables(run: Finished) -> Iterator[PageTable]:
    """Yields a run's tables: the job's own, then those of further sets of references."""
    for kind in known_tables().values():
        for reading in ("", *get_args(Reading)):
            name = f"{kind.name}-{reading}" if reading else kind.name
            frame = run.tables.get(name)
            if frame is not None and not frame.is_empty():
                yield _table(frame, kind.name, _protocol(run, reading), f"{run.name}-{name}")


def _protocol(run: Finished, reading: str) -> Protocol:
    """Returns the run's protocol, as it is with another set of references."""
    if not reading:
        return run.protocol
    chosen = "rotating" if run.job.get("caption", "rotating") == "rotating" else "none"
    return replace(
        run.protocol, references=reading, left_out="none" if reading == "all" else chosen
    )


_FRAMES = {
    "audit": "Agreement of ASRs: the same speech transcribed by two of them, in percent",
    "audit-tests": "Comparisons repeated with a second ASR",
    "sensitivity": "What depends on the ASR and the normaliser, beside the job's own",
}
"""The titles of small tables by file name."""
_SHARES = ("prompt",)


def small_table(run: Finished, name: str) -> PageTable | None:
    """Returns one of the run's small tables; None if the run does not have it."""
    frame = run.tables.get(name)
    if frame is None or frame.is_empty():
        return None
    # Values that all rows share are shown once.
    alike = [
        column
        for column in ("asr", "other", "normaliser", "against")
        if column in frame.columns and frame.height > 1 and frame[column].n_unique() == 1
    ]
    names = [column for column in frame.columns if column not in alike]
    rows = [[_plain_cell(row, column) for column in names] for row in frame.to_dicts()]
    heads = (
        TableHead(text=column.replace("_", " "), left=frame.schema[column] == pl.String)
        for column in names
    )
    return PageTable(
        title=_FRAMES[name],
        heads=tuple(heads),
        blocks=({"title": "", "rows": rows},),
        file=f"{run.name}-{name}.csv",
        csv=csv(frame),
        alike="; ".join(f"{column} {visible(str(frame[column][0]))}" for column in alike),
    )


def _plain_cell(row: Plain, name: str) -> TableCell:
    value = row[name]
    if value is None:
        return TableCell(text="–")
    if isinstance(value, bool):
        return TableCell(text="yes" if value else "no")
    if isinstance(value, str):
        return TableCell(text=visible(value), left=True)
    text = f"{value:.0%}" if name in _SHARES else str(value)
    if isinstance(value, float) and name not in _SHARES:
        text = f"{value:z.3f}" if name.endswith("p_adjusted") else f"{value:z.2f}"
    return TableCell(text=text, value=float(value))


def failures(run: Finished, labels: Sequence[str]) -> PageTable | None:
    """Returns the table of failures: a row for each cell, a column for each kind that occurs."""
    shown = [kind for kind in KINDS if any(cell["kinds"].get(kind) for cell in run.cells)]
    if not shown:
        return None
    rows = [
        [
            TableCell(text=label),
            *(
                TableCell(
                    text=f"{cell['kinds'][kind]:.1%}",
                    value=cell["kinds"][kind],
                    share=cell["kinds"][kind],
                )
                for kind in shown
            ),
            TableCell(text=str(cell["n"]), value=cell["n"]),
        ]
        for cell, label in zip(run.cells, labels, strict=True)
    ]
    facts = [
        {"system": label, **{kind: cell["kinds"][kind] for kind in shown}, "n": cell["n"]}
        for cell, label in zip(run.cells, labels, strict=True)
    ]
    return PageTable(
        title="How speech fails",
        heads=(
            TableHead(text="system", left=True),
            *(TableHead(text=kind, tip=KINDS[kind]) for kind in shown),
            TableHead(text="n"),
        ),
        blocks=({"title": "", "rows": rows},),
        file=f"{run.name}-failures.csv",
        csv=csv(pl.DataFrame(facts)),
    )


def again(run: Finished) -> str:
    """Returns shell lines that repeat the run: its job in JSON (which is YAML), and the command."""
    file = shlex.quote(f"{run.name}.yaml")
    job = json.dumps({key: value for key, value in run.job.items() if value is not None})
    return f"cat > {file} <<'JOB'\n{job}\nJOB\npixvox run {file}"


def provenance(run: Finished, labels: Sequence[str]) -> Plain:
    """Returns how the run was made, and how to repeat it."""
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
