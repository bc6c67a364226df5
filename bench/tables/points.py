"""The points of a sweep: every place of the grid with seeds pooled, and the best scores.

The tests are those of the tables (see bench.tables.testing): all pairs of a prompt share, adjusted
together.
"""

from collections.abc import Sequence

import polars as pl

from bench.store.columns import Column, Columns, schema
from bench.tables.pooling import Row
from bench.tables.sweep import AXES, NAMED, axes_of, differ
from bench.tables.testing import Marked

CHOICES = tuple(axis for axis in AXES if axis not in ("system", "part", "seed", "asr"))
"""Axes that a user chooses; the others are chance, or part of the measurement."""
COLUMNS: Columns = (
    NAMED["system"],
    Column("point", pl.String, "Its name in tables: the label, and what distinguishes it."),
    *(NAMED[axis] for axis in CHOICES),
    NAMED["metric"],
    NAMED["kept"],
    Column(
        "score", pl.Float64, "The corpus score of all seeds, in percent or the metric's own unit."
    ),
    NAMED["low"],
    NAMED["high"],
    Column("n", pl.Int64, "The number of items, all seeds."),
    Column("seeds", pl.Int64, "The number of seeds in the point."),
    Column("best", pl.Boolean, "Whether it is the best of the points of its prompt share."),
    Column("alike", pl.Boolean, "Whether it does not differ from the best at 5%."),
    Column(
        "tested", pl.Boolean, "Whether it was compared with the best: its protocol is the same."
    ),
)


def points(competing: Sequence[Row], marks: Marked) -> pl.DataFrame:
    """Returns a row for every point and score of the competing rows, for the whole speech."""
    values_of_points = []
    for place, row in enumerate(competing):
        if row.cell.part != "whole":
            continue
        axes = {axis: value for axis, value in axes_of(row.cell).items() if axis in CHOICES}
        for score in row.counted.scores:
            interval = row.scores[score.name]
            values = {
                "system": row.cell.label,
                "point": row.name,
                "metric": score.name,
                "kept": score.display_priority,
                "score": interval.score,
                "low": interval.low,
                "high": interval.high,
                "n": row.asked,
                "seeds": len(row.cells),
                "best": place in marks.tops.get(score.name, ()),
                "alike": place in marks.alike.get(score.name, ()),
                "tested": place in marks.tested,
            }
            values_of_points.append(axes | values)
    return pl.DataFrame(values_of_points, schema=schema(COLUMNS))


def choices(frame: pl.DataFrame) -> list[str]:
    """Returns the axes that vary within a system, not only between systems."""
    parts = frame.partition_by("system")
    return [axis for axis in CHOICES if any(differ(axis, part[axis]) for part in parts)]
