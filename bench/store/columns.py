"""Declarations of the columns of all written files: name, type and meaning.

Polars' schemas and docs/reference.md are derived from them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_type_hints

import polars as pl


@dataclass(frozen=True)
class Column:
    """One column; `dtype` is its Polars type."""

    name: str
    dtype: Any
    meaning: str


Columns = tuple[Column, ...]


def columns_of(row: type) -> Columns:
    """Returns a dataclass's fields, each `Annotated[TYPE, DTYPE, "meaning"]`, as columns."""
    hints = get_type_hints(row, include_extras=True)
    return tuple(Column(name, *hint.__metadata__) for name, hint in hints.items())


def schema(columns: Iterable[Column]) -> dict[str, Any]:
    """Returns the columns' types by name, as Polars' `schema` argument."""
    return {column.name: column.dtype for column in columns}


def without(columns: Iterable[Column], *names: str) -> Columns:
    """Returns all columns except the named ones."""
    return tuple(column for column in columns if column.name not in names)


def declared(frame: pl.DataFrame, columns: Iterable[Column]) -> pl.DataFrame:
    """Returns the frame; raises ValueError if its columns differ from those declared, in order."""
    wanted = pl.Schema(schema(columns))
    if list(frame.schema.items()) != list(wanted.items()):
        raise ValueError(f"columns {dict(frame.schema)}, declared are {dict(wanted)}")
    return frame
