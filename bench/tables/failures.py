"""The table of failures of speech: the share of each kind among a row's items."""

from collections.abc import Sequence

import polars as pl

from bench.scoring.taxonomy import KINDS
from bench.store.columns import Column, Columns, schema
from bench.tables.pooling import Row

# The number of failed items is in every table.
_SHOWN = tuple(kind for kind in KINDS if kind != "failed")
COLUMNS: Columns = (
    Column("system", pl.String, "The system's label; then what distinguishes it."),
    Column("prompt", pl.Float64, "The share of the reference speech that was given, 0 to 1."),
    Column("n", pl.Int64, "The number of items, all seeds, failed ones included."),
    *(Column(kind, pl.Float64, f"In percent of the items: {KINDS[kind]}") for kind in _SHOWN),
)


def failures(rows: Sequence[Row]) -> pl.DataFrame:
    """Returns the shares of all kinds in percent, for rows with a kind other than failed items."""
    frame = pl.DataFrame(
        [
            {
                "system": row.label,
                "prompt": row.cell.prompt,
                "n": row.asked,
                **{kind: _share(row, kind) for kind in _SHOWN},
            }
            for row in rows
        ],
        schema=schema(COLUMNS),
    )
    return frame.filter(pl.any_horizontal(pl.col(kind) > 0 for kind in _SHOWN))


def _share(row: Row, kind: str) -> float:
    return 100 * sum(cell.kinds[kind] * cell.n for cell in row.cells) / max(row.asked, 1)
