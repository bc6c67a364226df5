"""A sweep on the page: charts along its axes, heat maps of two axes, and the best points."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from bench.report.drawn import SHADES
from bench.report.page.finished import Finished
from bench.report.page.svg import heat, lines
from bench.report.page.words import visible
from bench.report.sweeps import AxisChart, axis_charts, bests, heat_maps
from bench.store.columns import schema
from bench.tables.points import COLUMNS, choices

Plain = dict[str, Any]


def points_of(run: Finished) -> pl.DataFrame:
    """Returns a run's points with clean labels; empty if nothing was varied."""
    # A run from before an axis was added has no column for it.
    points = pl.DataFrame(schema=schema(COLUMNS))
    if "points" in run.tables:
        points = pl.concat([points, run.tables["points"]], how="diagonal_relaxed")
    shown = (pl.col(n).map_elements(visible, pl.String) for n in ("system", "point"))
    return points.with_columns(shown)


def sweep(run: Finished) -> Plain | None:
    """Returns a sweep's charts; None if nothing but the prompt's share varies within a system."""
    points = points_of(run)
    if not set(choices(points)) - {"prompt"}:
        return None
    charts = list(axis_charts(points, prompts=False))
    return {
        "axes": [
            _axis([chart for chart in charts if chart.axis == axis])
            for axis in dict.fromkeys(chart.axis for chart in charts)
        ],
        "heats": [{"title": each.title, "svg": heat(each)} for each in heat_maps(points)],
        "bests": [best.sentence for best in bests(points)],
    }


def _axis(charts: Sequence[AxisChart]) -> Plain:
    """Returns one axis, with a chart for each score."""
    labels = dict.fromkeys(line.label for chart in charts for line in chart.lines)
    return {
        "axis": charts[0].axis,
        "averaged": " and ".join(charts[0].averaged),
        "legend": [
            {"label": label, "kind": f"shade{number % SHADES}"}
            for number, label in enumerate(labels)
        ],
        "charts": [
            {
                "title": chart.metric,
                "svg": lines(
                    f"{chart.metric} by {chart.axis}", chart.lines, chart.named, chart.axis
                ),
            }
            for chart in charts
        ],
    }
