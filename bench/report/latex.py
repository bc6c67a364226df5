"""The table as LaTeX, as wide as both columns of a paper: booktabs, bold, intervals, stars."""

from typing import Any

import polars as pl

from bench.common.text import clean
from bench.jobs.tables import table_of
from bench.metrics.shipped import KNOWN
from bench.report.notes import MEASURED, READING, grouped, notes
from bench.report.text import (
    LEFT,
    block_title,
    columns,
    heading,
    is_score,
    plain,
    score,
)
from bench.tables.protocol import Protocol

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "✓": r"$\checkmark$",
    "≈": r"$\approx$",
    "✗": r"$\times$",
    "±": r"$\pm$",
    "×": r"$\times$",
}


def inert(text: str) -> str:
    """Returns text with LaTeX's characters escaped; characters without a glyph become `?`."""
    return "".join(
        _SPECIAL.get(c, c if c.isascii() or (c.isalpha() and ord(c) < 0x250) else "?")
        for c in clean(text)
    )


def _cell(row: dict[str, Any], name: str) -> str:
    if not is_score(row, name):
        return inert(plain(row, name))
    value, spread = score(row, name)
    text = rf"\textbf{{{value}}}" if name in (row["best"] or []) else value
    text += r"\rlap{$^{*}$}" if name in (row["significant"] or []) else ""
    # Below the score, because a table with both side by side is wider than a page.
    return rf"\pixvox{{{text}}}{{{inert(spread)}}}" if spread else text


def _columns(frame: pl.DataFrame, table: str) -> list[str]:
    """Returns the table's columns except those that a narrow table drops before its intervals."""
    first = {score.head for score in KNOWN if score.display_priority < 0}
    measured = frame.filter(block="measured")
    any_failed = bool(measured["failed"].sum())
    left = first | ({"training"} if table_of(table).column == "training" else set())
    left |= set() if any_failed else {"failed"}
    return [name for name in columns(frame, table) if name not in left]


def latex(frame: pl.DataFrame, table: str, protocol: Protocol) -> str:
    r"""Returns a `table*` environment of at most 7 inches; needs `\usepackage{booktabs,amssymb}`.

    Its caption explains what is shown and how to read it. Notes on single rows are below the table.
    """
    names = _columns(frame, table)
    aligned = "".join("l" if name in LEFT else "r" for name in names)
    heads = " & ".join("" if name == "grade" else inert(name) for name in names)
    left_out = set(columns(frame, table)) - set(names)
    every = notes(frame, table, protocol, left_out)
    general = [note.text for note in every if note.group in (READING, MEASURED)]
    said = grouped(note for note in every if note.group not in (READING, MEASURED))
    caption = " ".join(inert(line) for line in (f"{heading(table, protocol)}.", *general))
    lines = [
        "% " + r"\usepackage{booktabs,amssymb}",
        r"\begin{table*}",
        r"\centering",
        r"\newcommand{\pixvox}[2]{\begin{tabular}[t]{@{}r@{}}#1\\[-2pt]{\tiny #2}\end{tabular}}",
        rf"\caption[{inert(heading(table, protocol))}]{{{caption}}}",
        r"\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\begin{{tabular}}{{@{{}}{aligned}@{{}}}}",
        r"\toprule",
        heads + r" \\",
    ]
    for block in ("published", "measured"):
        part = frame.filter(pl.col("block") == block)
        if part.is_empty():
            continue
        title = inert(block_title(block, frame))
        lines += [r"\midrule", rf"\multicolumn{{{len(names)}}}{{@{{}}l}}{{\emph{{{title}}}}} \\"]
        lines += [
            " & ".join(_cell(row, name) for name in names) + r" \\"
            for row in part.iter_rows(named=True)
        ]
    lines += [r"\bottomrule", r"\end{tabular}", r"\par\smallskip\raggedright\scriptsize"]
    for group, texts in said:
        if group not in (READING, MEASURED):
            each = (rf"{number}.~{inert(text)}\par" for number, text in texts)
            lines += [rf"\emph{{{group}}}\par", *each]
    return "\n".join([*lines, r"\end{table*}", ""])
