"""A sweep on the page: a small chart a score along its axis, and what each axis does by itself."""

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from bench.report.page.finished import Finished
from bench.report.page.svg import SHADES, Line, lines
from bench.report.page.words import visible
from bench.systems.base import Role
from bench.tables.sweep import NUMERIC, SHORT_TABLES, varied

Plain = dict[str, Any]

_APART = ("seed", "part", "asr")
"""Axes of luck or of measuring: no choice of anybody's model."""
_IN_TABLES = ("system", "pattern", "prompt")
"""Axes that the tables and curves show anyway."""


def _frame(run: Finished) -> pl.DataFrame:
    """Competing systems' scores that short tables show: whole speeches, the job's own measures."""
    competing = [cell["cell"] for cell in run.cells if cell["role"] == Role.SYSTEM]
    first = run.cells[0]["signature"]["normaliser"] if run.cells else ""
    asrs = run.scores["asr"].drop_nulls().unique(maintain_order=True)
    own = pl.col("asr").is_null() | (pl.col("asr") == (asrs[0] if len(asrs) else ""))
    some = (pl.col("normaliser") == first) & (pl.col("part") == "whole") & own
    return run.scores.filter(some, SHORT_TABLES, pl.col("cell").is_in(competing))


def _axes(frame: pl.DataFrame) -> list[str]:
    return [axis for axis in varied(frame) if axis not in _APART]


def sweep(run: Finished) -> Plain | None:
    """Charts along the first axis of numbers that is no prompt's share, and main effects.

    None where the job varies nothing but what its tables show.
    """
    frame = _frame(run)
    axes = _axes(frame)
    if not set(axes) - set(_IN_TABLES):
        return None
    along = next((axis for axis in NUMERIC if axis in axes and axis != "prompt"), None)
    charts = list(_charts(frame, along)) if along else []
    return {
        "along": (along or "").replace("_", " "),
        "charts": charts,
        "legend": _legend(frame, along) if charts else [],
        "effects": _effects(frame, axes),
    }


def _systems(frame: pl.DataFrame, along: str) -> list[str]:
    some = frame.filter(pl.col(along).is_not_null())
    return [str(name) for name in some["system"].unique(maintain_order=True)]


def _legend(frame: pl.DataFrame, along: str | None) -> list[Plain]:
    assert along is not None
    return [
        {"label": visible(name), "kind": f"shade{number % SHADES}"}
        for number, name in enumerate(_systems(frame, along))
    ]


def _charts(frame: pl.DataFrame, along: str) -> Iterator[Plain]:
    """A chart a score: a line a system, means over all other axes."""
    for (metric,), part in frame.group_by("metric", maintain_order=True):
        drawn = []
        for system in _systems(frame, along):
            points = (
                part.filter(pl.col(along).is_not_null(), system=system)
                .group_by(along)
                .agg(pl.col("score").mean())
                .sort(along)
                .rows()
            )
            drawn.append(Line(visible(system), tuple(points)))
        places = sorted({x for line in drawn for x, _ in line.points})
        if len(places) > 1:
            named = {x: f"{x:g}" for x in places}
            yield {"title": metric, "svg": lines(f"{metric} by {along}", drawn, named)}


def _effects(frame: pl.DataFrame, axes: Sequence[str]) -> Plain:
    """Every level of every axis, and the mean score of all cells that are there."""
    metrics = list(frame["metric"].unique(maintain_order=True))
    rows = []
    for axis in axes:
        means = (
            frame.filter(pl.col(axis).is_not_null())
            .group_by(axis, "metric", maintain_order=True)
            .agg(pl.col("score").mean(), pl.col("cell").n_unique())
        )
        for (level,), part in means.group_by(axis, maintain_order=True):
            known = dict(zip(part["metric"], part["score"], strict=True))
            cells = int(part["cell"].to_list()[0])
            shown = f"{level:g}" if isinstance(level, float) else str(level)
            values = [known.get(metric) for metric in metrics]
            rows.append(
                {
                    "axis": axis.replace("_", " "),
                    "level": visible(shown),
                    "cells": cells,
                    "scores": ["–" if v is None else f"{v:.2f}" for v in values],
                }
            )
    return {"metrics": metrics, "rows": rows}
