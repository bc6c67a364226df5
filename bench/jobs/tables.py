"""The tables that a job may ask for: what stands in each; a new table is one class and one line."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from bench.common.validation import did_you_mean, shown
from bench.jobs.cells import Cell
from bench.systems.axes import PROMPT


class Table(ABC):
    """A table of measured rows beside published ones.

    `column` is what it shows between a system's name and its scores.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    column: ClassVar[str]

    @abstractmethod
    def belongs(self, cell: Cell) -> bool:
        """Whether a cell is a row of it."""

    def worthwhile(self, cells: Sequence[Cell]) -> bool:
        """Whether it says anything, of cells that all belong to it."""
        return bool(cells)


class Table1(Table):
    """Systems without a prompt, between floors and ceilings."""

    name = "table1"
    title = "Table I: systems without a prompt"
    column = "training"

    def belongs(self, cell: Cell) -> bool:
        return cell.prompt == 0 and cell.system.loss != "clarity"


class Table2(Table):
    """Speech completion; without a prompted row it has nothing to say."""

    name = "table2"
    title = "Table II: speech completion, a share of the reference speech given as a prompt"
    column = "prompt"

    def belongs(self, cell: Cell) -> bool:
        return PROMPT in cell.system.axes()

    def worthwhile(self, cells: Sequence[Cell]) -> bool:
        return any(cell.prompt for cell in cells)


TABLES: tuple[Table, ...] = (Table1(), Table2())


def table_of(name: str) -> Table:
    """A table by its name; raises KeyError for a name that none has."""
    return {table.name: table for table in TABLES}[name]


def _known(name: str) -> str:
    names = [table.name for table in TABLES]
    if name not in names:
        raise ValueError(f"{shown(name)} is not known; {did_you_mean(name, names)}")
    return name


TableName = Annotated[str, AfterValidator(_known)]
