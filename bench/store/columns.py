"""Columns of the files that we write, each declared once: its name, its type, what it means.

Polars' schema and the reference of the documentation both come from the declaration.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_type_hints

import polars as pl


@dataclass(frozen=True)
class Column:
    """One column; `dtype` is Polars' type of it."""

    name: str
    dtype: Any
    meaning: str


Columns = tuple[Column, ...]


def columns_of(row: type) -> Columns:
    """Those of a dataclass whose fields are each `Annotated[TYPE, DTYPE, "meaning"]`."""
    hints = get_type_hints(row, include_extras=True)
    return tuple(Column(name, *hint.__metadata__) for name, hint in hints.items())


def schema(columns: Iterable[Column]) -> dict[str, Any]:
    """What Polars makes a frame with."""
    return {column.name: column.dtype for column in columns}


def without(columns: Iterable[Column], *names: str) -> Columns:
    """All but the named ones."""
    return tuple(column for column in columns if column.name not in names)


def declared(frame: pl.DataFrame, columns: Iterable[Column]) -> pl.DataFrame:
    """The same frame; raises ValueError where its columns are not those declared, in order."""
    wanted = pl.Schema(schema(columns))
    if list(frame.schema.items()) != list(wanted.items()):
        raise ValueError(f"columns {dict(frame.schema)}, declared are {dict(wanted)}")
    return frame
