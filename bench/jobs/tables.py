"""The tables that a job may ask for; a new table is one class and one line."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from bench.common.errors import UserError
from bench.common.plugins import load
from bench.common.validation import did_you_mean, shown
from bench.jobs.cells import Cell
from bench.systems.axes import PROMPT
from pixvox.plugins import TABLES as PLUGINS
from pixvox.plugins import plugins


class Table(ABC):
    """A table of measured rows beside published ones.

    `column` is the column between a system's name and its scores.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    column: ClassVar[str]

    @abstractmethod
    def belongs(self, cell: Cell) -> bool:
        """Returns whether a cell is a row of the table."""

    def worthwhile(self, cells: Sequence[Cell]) -> bool:
        """Returns whether the table is written, for cells that all belong to it."""
        return bool(cells)


class Table1(Table):
    """Systems without a prompt, between floors and ceilings."""

    name = "table1"
    title = "Table I: systems without a prompt"
    column = "training"

    def belongs(self, cell: Cell) -> bool:
        return cell.prompt == 0 and cell.system.loss != "clarity"


class Table2(Table):
    """Speech completion; it is written only if there is a row with a prompt."""

    name = "table2"
    title = "Table II: speech completion, a share of the reference speech given as a prompt"
    column = "prompt"

    def belongs(self, cell: Cell) -> bool:
        return PROMPT in cell.system.axes()

    def worthwhile(self, cells: Sequence[Cell]) -> bool:
        return any(cell.prompt for cell in cells)


TABLES: tuple[Table, ...] = (Table1(), Table2())


def known_tables() -> Mapping[str, Table]:
    """Returns the suite's tables, which are the default of a job, and those of plug-ins."""
    tables = {table.name: table for table in TABLES}
    for plugin in plugins(PLUGINS).values():
        table: Table = load(plugin, Table)()
        if plugin.name in tables or table.name != plugin.name:
            who = f"plug-in {plugin.name!r} ({PLUGINS}) of {plugin.release}"
            raise UserError(f"{who}: give {plugin.entry} the name {plugin.name!r}, as no other has")
        tables[plugin.name] = table
    return tables


def table_of(name: str) -> Table:
    """Returns a table by its name; raises KeyError for an unknown name."""
    return known_tables()[name]


def _known(name: str) -> str:
    names = known_tables()
    if name not in names:
        raise ValueError(f"{shown(name)} is not known; {did_you_mean(name, names)}")
    return name


TableName = Annotated[str, AfterValidator(_known)]
