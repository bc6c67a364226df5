"""A sweep's points: every place of the grid, all seeds pooled, and which scores are the best.

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
"""Axes along which a system is varied; the others are luck, or how it is measured."""
COLUMNS: Columns = (
    NAMED["system"],
    Column("point", pl.String, "What tables call it: the label, and what tells it from others."),
    *(NAMED[axis] for axis in CHOICES),
    NAMED["metric"],
    NAMED["kept"],
    Column(
        "score", pl.Float64, "The corpus score of all seeds, in percent or the metric's own unit."
    ),
    NAMED["low"],
    NAMED["high"],
    Column("n", pl.Int64, "How many items were scored, over all seeds."),
    Column("seeds", pl.Int64, "Over how many seeds the point was summed."),
    Column("best", pl.Boolean, "Whether it is the best of the points of its prompt share."),
    Column("alike", pl.Boolean, "Whether it is not told apart from the best at 5%."),
    Column(
        "tested", pl.Boolean, "Whether it was compared with the best: its protocol is the same."
    ),
)


def points(competing: Sequence[Row], marks: Marked) -> pl.DataFrame:
    """Returns a row for every point and score of the rows that compete, scored whole."""
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
    """Returns the axes that vary within a system; what only tells two systems apart is none."""
    parts = frame.partition_by("system")
    return [axis for axis in CHOICES if any(differ(axis, part[axis]) for part in parts)]
