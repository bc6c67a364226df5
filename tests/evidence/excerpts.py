"""Fills the excerpts of results' tables in README and docs.

An excerpt stands below a comment that says what it shows, one key a line:

    <!-- excerpt
    of: results/flickr8k/tables/table1-all.md
    columns: {"": " ", system: system, B4: BLEU-4}
    without: [silence, shuffled speech]
    -->

Cells are those of the Markdown table, without marks that its notes would have to explain. Rows of
all the table's blocks are shown in their order, but for `without`; an excerpt is every line that
begins with `|` right below the comment.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.evidence.program import ROOT, program

_EXCERPT = re.compile(r"(?s)(<!-- excerpt\n(.*?)-->\n\n)((?:\|[^\n]*\n)*)")
_MARKS = re.compile(r"\\\*|\*\*|\\(?=[\[\]+*])")


def pages() -> list[Path]:
    """Returns the pages that may have excerpts."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def filled(page: str) -> str:
    """Returns the page's text with its excerpts filled from the committed tables.

    Raises ValueError for a column or row that the table does not have.
    """
    return _EXCERPT.sub(lambda match: match[1] + _excerpt(yaml.safe_load(match[2])), page)


def _excerpt(request: Mapping[str, Any]) -> str:
    rows = list(_rows((ROOT / request["of"]).read_text()))
    columns, without = dict(request["columns"]), list(request.get("without", []))
    bold = list(request.get("bold", []))
    missing = {*without, *bold} - {row["system"] for row in rows}
    missing |= set(columns) - {name for row in rows for name in row}
    if missing:
        raise ValueError(f"{request['of']} has no {', '.join(sorted(missing))}")
    text = [name for name in columns if name in ("", "system", "training")]
    lines = [_line(columns.values()), _line(":--" if name in text else "--:" for name in columns)]
    for row in rows:
        if row["system"] in without:
            continue
        shown = dict(row)
        if row["system"] in bold:
            shown["system"] = f"**{row['system']}**"
        lines.append(_line(shown.get(name, "-") for name in columns))
    return "".join(f"{line}\n" for line in lines)


def _line(cells: Any) -> str:
    # A browser must not break a line between a score and its interval.
    return f"| {' | '.join(cells)} |".replace(" ±", "\N{NO-BREAK SPACE}±")


def _rows(table: str) -> Iterator[dict[str, str]]:
    """Yields the rows of all Markdown tables of a text, by column."""
    names: list[str] = []
    for line in table.splitlines():
        if not line.startswith("|"):
            names = []
            continue
        cells = [_MARKS.sub("", cell).strip() for cell in line.strip("|").split("|")]
        if not names:
            names = cells
        elif not set("".join(cells)) <= set(":-"):
            yield dict(zip(names, cells, strict=True))


def main(words: Sequence[str]) -> int:
    """Fills all pages, and names those that changed."""
    for page in pages():
        before = page.read_text()
        after = filled(before)
        if after != before:
            page.write_text(after)
            print(page.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    program(main)
