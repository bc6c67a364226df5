"""Charts by matplotlib: panels as wide as a column of a paper, and figures of panels."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from bench.common.figures import label
from bench.report.drawn import Bar, Line
from bench.report.sweeps import AxisChart, HeatMap, axis_charts, heat_maps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN = 3.3
"""Inches of a column in IEEE's and ACL's styles."""
_DOTS = 300
_DASHES = ("--", ":", "-.")
_TONES = {"whole": "#5a78b5", "lost": "#b5533c", "won": "#2f7d5b"}
_LEGEND = {"loc": "outside lower center", "frameon": False}


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=_DOTS, layout="constrained")


def _draw_lines(panel: Any, drawn: Sequence[Line], named: Mapping[float, str]) -> None:
    for number, line in enumerate(sorted(drawn, key=lambda line: not line.faint)):
        xs, ys = zip(*line.points, strict=True)
        name = label(line.label)
        if line.faint:
            panel.plot(xs, ys, color="0.65", ls=_DASHES[number % len(_DASHES)], lw=1.2, label=name)
            continue
        panel.plot(xs, ys, marker="o", ms=3, lw=1.2, label=name)
        if line.spread:
            at, low, high = zip(*line.spread, strict=True)
            panel.fill_between(at, low, high, alpha=0.15)
    panel.set_xticks(list(named), [label(name) for name in named.values()])
    panel.set_ylim(bottom=0)
    panel.tick_params(labelsize=6)
    panel.grid(alpha=0.3)


def curve(metric: str, drawn: Sequence[Line], named: Mapping[float, str], along: str) -> "Figure":
    """Returns a chart of a score along an axis, a line for each system, as wide as a column."""
    figure = _figure(COLUMN, 2.4)
    panel = figure.subplots()
    _draw_lines(panel, drawn, named)
    panel.set_xlabel(label(along), fontsize=7)
    panel.set_ylabel(label(f"{metric} (%)"), fontsize=7)
    figure.legend(ncols=2, fontsize=5.5, **_LEGEND)
    return figure


def fall(name: str, drawn: Sequence[Bar]) -> "Figure":
    """Returns a chart of the bars of a waterfall, as wide as a column."""
    figure = _figure(COLUMN, 0.4 + 0.24 * len(drawn))
    panel = figure.subplots()
    for row, bar in enumerate(drawn):
        panel.barh(row, bar.high - bar.low, left=bar.low, color=_TONES[bar.tone], height=0.7)
        panel.text(bar.high, row, f" {bar.text}", va="center", fontsize=6)
    panel.set_yticks(range(len(drawn)), [label(bar.label) for bar in drawn], fontsize=7)
    panel.invert_yaxis()
    panel.margins(x=0.25)
    panel.set_title(label(name), fontsize=7)
    panel.tick_params(axis="x", labelsize=6)
    return figure


def _draw_heat(panel: Any, heat: HeatMap) -> None:
    from matplotlib.patches import Rectangle

    values = [
        [
            heat.cells[x, y].value if (x, y) in heat.cells else float("nan")
            for x in range(len(heat.columns))
        ]
        for y in range(len(heat.rows))
    ]
    panel.imshow(values, cmap="Blues", aspect="auto", alpha=0.6)
    for (x, y), cell in heat.cells.items():
        panel.text(x, y, f"{cell.text}\n{cell.spread}", ha="center", va="center", fontsize=5.5)
        if cell.best or cell.alike:
            edge = {"lw": 1.8} if cell.best else {"lw": 1.0, "ls": "--"}
            panel.add_patch(Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, fill=False, **edge))
    panel.set_xticks(range(len(heat.columns)), [label(name) for name in heat.columns], fontsize=6)
    panel.set_yticks(range(len(heat.rows)), [label(name) for name in heat.rows], fontsize=6)
    panel.set_xlabel(label(heat.across), fontsize=7)
    panel.set_ylabel(label(heat.down), fontsize=7)
    panel.set_title(label(heat.title), fontsize=6, wrap=True)


def heat_map(heat: HeatMap) -> "Figure":
    """Returns a heat map as wide as a column. The best cell has a frame, and cells that do not
    differ significantly from it a dashed one."""
    figure = _figure(COLUMN, 0.9 + 0.42 * len(heat.rows))
    _draw_heat(figure.subplots(), heat)
    return figure


def sweep_figure(points: pl.DataFrame) -> "Figure | None":
    """Returns a sweep's figure: a row for each axis, a panel for each score; None without axes."""
    charts = list(axis_charts(points, prompts=True))
    if not charts:
        return None
    axes, metrics = (list(dict.fromkeys(names)) for names in _names(charts))
    figure = _figure(2.6 * len(metrics), 2.2 * len(axes) + 0.4)
    panels = figure.subplots(len(axes), len(metrics), squeeze=False)
    for chart in charts:
        panel = panels[axes.index(chart.axis)][metrics.index(chart.metric)]
        _draw_lines(panel, chart.lines, chart.named)
        over = f", mean over {' and '.join(chart.averaged)}" if chart.averaged else ""
        panel.set_xlabel(label(f"{chart.axis}{over}"), fontsize=7)
        panel.set_ylabel(label(f"{chart.metric} (%)"), fontsize=7)
    for row in panels:
        row[-1].legend(fontsize=5.5, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _names(charts: Sequence[AxisChart]) -> tuple[list[str], list[str]]:
    return [chart.axis for chart in charts], [chart.metric for chart in charts]


def heat_figure(points: pl.DataFrame) -> "Figure | None":
    """Returns a figure of a sweep's heat maps; None if fewer than two axes vary."""
    maps = list(heat_maps(points))
    if not maps:
        return None
    tallest = max(len(heat.rows) for heat in maps)
    rows = -(-len(maps) // 2)
    figure = _figure(2 * COLUMN, rows * (0.9 + 0.42 * tallest))
    panels = figure.subplots(rows, 2, squeeze=False).flat
    for panel, heat in zip(panels, maps, strict=False):
        _draw_heat(panel, heat)
    for panel in list(panels)[len(maps) :]:
        panel.set_axis_off()
    return figure
