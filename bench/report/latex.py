"""The table as LaTeX: booktabs, best in bold, intervals and significance marks."""

from typing import Any

import polars as pl

from bench.common.text import clean
from bench.report.text import (
    LEFT,
    block_title,
    columns,
    heading,
    is_score,
    notes,
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
    """Text that LaTeX prints and does not act on; what its fonts lack becomes a question mark."""
    return "".join(
        _SPECIAL.get(c, c if c.isascii() or (c.isalpha() and ord(c) < 0x250) else "?")
        for c in clean(text)
    )


def _cell(row: dict[str, Any], name: str) -> str:
    if not is_score(row, name):
        return inert(plain(row, name))
    value, spread = score(row, name)
    text = rf"\textbf{{{value}}}" if name in (row["best"] or []) else value
    if spread:
        text += rf"\,{{\scriptsize {inert(spread)}}}"
    return text + (r"$^{*}$" if name in (row["significant"] or []) else "")


def latex(frame: pl.DataFrame, table: str, protocol: Protocol) -> str:
    r"""A `table*` environment; needs `\usepackage{booktabs,amssymb}`."""
    names = columns(frame, table)
    aligned = "".join("l" if name in LEFT else "r" for name in names)
    heads = " & ".join("" if name == "grade" else inert(name) for name in names)
    lines = [
        "% " + r"\usepackage{booktabs,amssymb}",
        r"\begin{table*}",
        r"\centering",
        rf"\caption{{{inert(heading(table, protocol))}}}",
        rf"\begin{{tabular}}{{{aligned}}}",
        r"\toprule",
        heads + r" \\",
    ]
    for block in ("published", "measured"):
        part = frame.filter(pl.col("block") == block)
        if part.is_empty():
            continue
        title = inert(block_title(block, frame))
        lines += [r"\midrule", rf"\multicolumn{{{len(names)}}}{{l}}{{\emph{{{title}}}}} \\"]
        lines += [
            " & ".join(_cell(row, name) for name in names) + r" \\"
            for row in part.iter_rows(named=True)
        ]
    lines += [r"\bottomrule", r"\end{tabular}", r"\par\smallskip\raggedright\footnotesize"]
    lines += [inert(line) + r"\par" for line in notes(frame, protocol)]
    return "\n".join([*lines, r"\end{table*}", ""])
