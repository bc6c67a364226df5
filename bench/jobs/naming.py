"""Names of cells: a label, and the values on the axes on which its cells differ.

Tables, audits, pages and lists use these names, so that a cell has the same name everywhere. A
golden's names must not depend on other cells, so they have all axes (see bench.gate.golden).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from bench.jobs.cells import Cell


def words_of(cell: Cell, seeds: bool = True) -> tuple[str, ...]:
    """Returns a cell's values on the axes except the prompt: `seed 0`, `temperature 0.5/1`.

    Numbers are exact, so different values never have the same text.
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
    """Returns a name for each cell: its label, and the words that distinguish it."""
    named = list(cells)
    cells_of = Counter(label for label, _ in named)
    uses = Counter((label, word) for label, words in named for word in set(words))
    return [
        ", ".join([label, *(w for w in words if w and uses[label, w] < cells_of[label])])
        for label, words in named
    ]


def names_without_seed(cells: Sequence[Cell]) -> dict[str, str]:
    """Returns each cell's name → the name of the row that joins all its seeds."""
    named = told_apart((cell.label, words_of(cell, seeds=False)) for cell in cells)
    return {cell.name: name for cell, name in zip(cells, named, strict=True)}
