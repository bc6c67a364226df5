"""What cells are called beside each other: a label, and the axes on which its cells differ.

Tables, audits, pages and lists name cells here, so that one cell has one name in all of them. A
golden's names have to last and hold all axes (see bench.gate.golden).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from bench.jobs.cells import Cell


def words_of(cell: Cell, seeds: bool = True) -> tuple[str, ...]:
    """Returns a cell's values on the axes, without the prompt's: `seed 0`, `temperature 0.5/1`.

    Numbers are exact, so that two different values never have the same text.
    """
    point = cell.system.details()
    if seeds and cell.seed is not None:
        point = {"seed": cell.seed} | point
    return tuple(f"{axis.replace('_', ' ')} {_exact(value)}" for axis, value in point.items())


def _exact(value: Any) -> str:
    parts = value if isinstance(value, tuple) else (value,)
    texts = ("none" if part is None else str(part).removesuffix(".0") for part in parts)
    return "/".join(texts)


def told_apart(cells: Iterable[tuple[str, Sequence[str]]]) -> list[str]:
    """A name for each cell, of its label and words: those that another one of the label lacks."""
    named = list(cells)
    cells_of = Counter(label for label, _ in named)
    uses = Counter((label, word) for label, words in named for word in set(words))
    return [
        ", ".join([label, *(w for w in words if w and uses[label, w] < cells_of[label])])
        for label, words in named
    ]


def names_without_seed(cells: Sequence[Cell]) -> dict[str, str]:
    """Returns each cell's own name → what it is called where all its seeds are one row."""
    named = told_apart((cell.label, words_of(cell, seeds=False)) for cell in cells)
    return {cell.name: name for cell, name in zip(cells, named, strict=True)}
