"""A page's charts as files for a paper: SVG and PNG, as wide as a column of two."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.common.figures import label, save_figure
from bench.report.page.charts import curves, falls
from bench.report.page.finished import Finished
from bench.report.page.svg import Bar, Line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN = 3.3
"""Inches of a column, as IEEE and ACL have it."""
_DOTS = 300
_DASHES = ("--", ":", "-.")
_TONES = {"whole": "#5a78b5", "lost": "#b5533c", "won": "#2f7d5b"}


def _figure(height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(COLUMN, height), dpi=_DOTS, layout="constrained")


def _curve(head: str, drawn: list[Line]) -> "Figure":
    figure = _figure(2.4)
    panel = figure.subplots()
    for number, line in enumerate(sorted(drawn, key=lambda one: not one.faint)):
        xs, ys = zip(*line.points, strict=True)
        name = label(line.label)
        if line.faint:
            panel.plot(xs, ys, color="0.65", ls=_DASHES[number % len(_DASHES)], lw=1.2, label=name)
            continue
        panel.plot(xs, ys, marker="o", ms=3, lw=1.2, label=name)
        if line.spread:
            at, low, high = zip(*line.spread, strict=True)
            panel.fill_between(at, low, high, alpha=0.15)
    panel.set_xlabel("share of the reference speech given", fontsize=7)
    panel.set_ylabel(label(head), fontsize=7)
    panel.set_ylim(bottom=0)
    panel.xaxis.set_major_formatter("{x:.0%}")
    panel.tick_params(labelsize=6)
    figure.legend(loc="outside lower center", ncols=2, fontsize=5.5, frameon=False)
    return figure


def _fall(name: str, drawn: list[Bar]) -> "Figure":
    figure = _figure(0.4 + 0.24 * len(drawn))
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


def write_figures(run: Finished, folder: Path) -> Iterator[Path]:
    """Writes every chart of a run as `.svg` and `.png`; gives the files."""
    made = [(f"prompt-{head}", _curve(head, drawn)) for head, drawn in curves(run)]
    made += [
        (f"lost-{number}", _fall(name, drawn)) for number, (name, drawn) in enumerate(falls(run), 1)
    ]
    for name, figure in made:
        for suffix in (".svg", ".png"):
            plain = "".join(c if c.isalnum() or c in "-_" else "-" for c in name)
            path = folder / f"{run.name}-{plain}{suffix}"
            save_figure(figure, path)
            yield path
