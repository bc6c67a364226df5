"""Fits tables to a terminal's width: wraps names and drops columns; no cell is truncated."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from bench.common.text import clean

GAP = 2
"""Spaces between two columns."""
_READABLE = 12
"""A text column is not made narrower than this while other columns can be dropped."""
_PART = re.compile(r"[^-_/.,:;+@|]*[-_/.,:;+@|]+|[^-_/.,:;+@|]+")


@dataclass(frozen=True)
class Column:
    """One column; a `text` column is aligned left and may be wrapped."""

    head: str
    cells: Sequence[Text]
    text: bool = False


def texts(head: str, values: Iterable[object]) -> Column:
    """Returns a column of foreign text, which is cleaned; its line breaks stay."""
    return Column(head, [_inert(value) for value in values], text=True)


def numbers(head: str, values: Iterable[object]) -> Column:
    """Returns a column of short values that are never wrapped."""
    return Column(head, [_inert(value) for value in values])


def _inert(value: object) -> Text:
    return Text("\n".join(clean(line) for line in str(value).split("\n")))


def wrapped(text: str, width: int) -> list[str]:
    """Returns a text's lines of at most `width` characters; nothing is left out.

    Lines are broken between words; a long word is broken after hyphens and similar characters; a
    part that is still too long is broken anywhere.
    """
    lines, line = [], ""
    for word in text.split(" "):
        if cell_len(f"{line} {word}" if line else word) <= width:
            line = f"{line} {word}" if line else word
            continue
        if line:
            lines.append(line)
        line = ""
        for part in _parts(word, width):
            if line and cell_len(line + part) > width:
                lines.append(line)
                line = ""
            line += part
    return [*lines, line]


def _parts(word: str, width: int) -> list[str]:
    if cell_len(word) <= width:
        return [word]
    parts: list[str] = []
    for part in _PART.findall(word):
        parts += [part] if cell_len(part) <= width else list(part)
    return parts


def _full(column: Column) -> int:
    lines = (line for cell in column.cells for line in cell.plain.split("\n"))
    return max([cell_len(column.head), *map(cell_len, lines)])


def _least(column: Column, level: int) -> int:
    """Returns a column's least width: break between words (0), in words (1), anywhere (2)."""
    full = _full(column)
    if not column.text:
        return full
    words = [word for cell in column.cells for word in cell.plain.split()]
    if level == 1:
        words = [part for word in words for part in _PART.findall(word)]
    longest = max([_READABLE, *map(cell_len, words)]) if level < 2 else _READABLE
    return min(full, max(longest, cell_len(column.head)))


def _widths(columns: Sequence[Column], width: int, level: int) -> list[int] | None:
    """Returns the columns' widths, the widest texts wrapped first; None if they do not fit."""
    widths, least = [_full(c) for c in columns], [_least(c, level) for c in columns]
    over = sum(widths) + GAP * (len(widths) - 1) - width
    while over > 0:
        may = [place for place, (f, m) in enumerate(zip(widths, least, strict=True)) if f > m]
        if not may:
            return None
        widest = max(may, key=widths.__getitem__)
        # Narrowed to the width of the next one, so that two long columns share the space.
        rest = sorted(widths[place] for place in may if widths[place] < widths[widest])
        step = min(over, widths[widest] - max([least[widest], *rest[-1:]]))
        widths[widest] -= max(step, 1)
        over -= max(step, 1)
    return widths


def full_width(columns: Sequence[Column]) -> int:
    """Returns the width of a table in characters if nothing is wrapped."""
    return sum(map(_full, columns)) + GAP * (len(columns) - 1)


def fits(columns: Sequence[Column], width: int) -> bool:
    """Returns whether a table fits without breaking a word."""
    return _widths(columns, width, 0) is not None


def first_fit(
    build: Callable[[Sequence[str]], list[Column]], order: Sequence[Sequence[str]], width: int
) -> tuple[list[Column], list[str]]:
    """Returns the table with the fewest columns dropped, in `order`, and those columns."""
    left_out: list[str] = []
    columns = build(left_out)
    for group in order:
        if fits(columns, width):
            break
        left_out = [*left_out, *group]
        columns = build(left_out)
    return columns, left_out


def pieces(columns: Sequence[Column], width: int) -> list[list[Column]]:
    """Returns a table as several below each other, each starting with the leading text columns."""
    count = next((n for n, column in enumerate(columns) if not column.text), len(columns))
    keys, rest = list(columns[:count]), list(columns[count:])
    tables = [list(keys)]
    for column in rest:
        if len(tables[-1]) > count and not fits([*tables[-1], column], width):
            tables.append(list(keys))
        tables[-1].append(column)
    return tables


def rich_table(columns: Sequence[Column], width: int) -> Table:
    """Returns the columns as a table of at most `width` characters, wrapped as far as necessary."""
    levels = (_widths(columns, width, level) for level in range(3))
    fitting = next((level for level in levels if level is not None), None)
    widths = fitting or [_least(column, 2) for column in columns]
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
    )
    for column, size in zip(columns, widths, strict=True):
        justify = "left" if column.text else "right"
        head = Text("\n".join(wrapped(column.head, size)))
        table.add_column(head, justify=justify, width=size, no_wrap=True, overflow="fold")  # type: ignore[arg-type]
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(_laid_out, columns, row, widths))
    return table


def _laid_out(column: Column, cell: Text, width: int) -> Text:
    if not column.text:
        return cell
    lines = (wrapped(line, width) for line in cell.plain.split("\n"))
    return Text("\n".join(line for parts in lines for line in parts))
