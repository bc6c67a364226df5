"""Writes a page's charts as files for a paper: SVG and PNG, as wide as one of two columns."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.common.figures import save_figure
from bench.report.figures import curve, fall, heat_map
from bench.report.page.charts import curves, falls
from bench.report.page.finished import Finished
from bench.report.page.sweeps import points_of
from bench.report.sweeps import axis_charts, heat_maps

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _figures(run: Finished) -> "Iterator[tuple[str, Figure]]":
    for head, drawn, named in curves(run):
        yield f"prompt-{head}", curve(head, drawn, named, "share of the reference speech given")
    for number, (name, bars) in enumerate(falls(run), 1):
        yield f"lost-{number}", fall(name, bars)
    points = points_of(run)
    for chart in axis_charts(points, prompts=False):
        figure = curve(chart.metric, chart.lines, chart.named, chart.axis)
        yield f"sweep-{chart.axis}-{chart.metric}", figure
    for number, heat in enumerate(heat_maps(points), 1):
        yield f"heat-{number}-{heat.across}-{heat.down}-{heat.metric}", heat_map(heat)


def write_figures(run: Finished, folder: Path) -> Iterator[Path]:
    """Writes every chart of a run as `.svg` and `.png`; yields the files."""
    for name, figure in _figures(run):
        for suffix in (".svg", ".png"):
            plain = "".join(c if c.isalnum() or c in "-_" else "-" for c in name)
            path = folder / f"{run.name}-{plain}{suffix}"
            save_figure(figure, path)
            yield path
