"""`pixvox show trend`: prints and draws how committed figures changed over commits."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.commands.options import Parser
from bench.commands.options import path as path_argument
from bench.common.figures import label, save_figure
from bench.common.text import clean
from bench.report.terminal import Listing
from bench.trend.series import Series, series_of

_WIDTH, _HEIGHT = 8.0, 2.6
"""Inches of a panel."""


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("file", type=path_argument, help="a committed JSON file, such as a table's")
    parser.add_argument("--only", default="", help="only figures with this in their name")
    parser.add_argument("--plot", type=path_argument, help="draw them: an .svg or .png")


def run(args: Namespace) -> int:
    """Prints every figure with its changes, and draws them if asked.

    Raises UserError as series_of does.
    """
    all_series = series_of(args.file, args.only)
    table = Listing(("figure", "commits", "first", "last", "changes"), ("figure", "changes"))
    for series in all_series:
        changes = [
            f"{c.before:.2f} to {c.after:.2f} at {c.version.revision}, {c.version.day}: "
            f"{c.version.subject}"
            for c in series.changes
        ]
        breaks = [f"another protocol at {s[0].version.revision}" for s in series.stretches[1:]]
        ends = (f"{series.points[0].value:.2f}", f"{series.points[-1].value:.2f}")
        # A commit's subject may hold control characters; `clean` makes it one plain line.
        notes = "\n".join(clean(note) for note in [*changes, *breaks]) or "none"
        table.add_row(series.name, len(series.points), *ends, notes)
    table.print()
    if args.plot is not None:
        draw(all_series, args.plot)
        print(clean(str(args.plot)))
    return 0


def draw(all_series: Sequence[Series], path: Path) -> None:
    """Draws a panel for every score, with a line for every system and its changes marked.

    The file's suffix names the format, such as .svg or .png.
    """
    from matplotlib.figure import Figure

    panels: dict[str, list[Series]] = {}
    for series in all_series:
        panels.setdefault(series.name.rpartition(" / ")[2], []).append(series)
    figure = Figure(figsize=(_WIDTH, _HEIGHT * len(panels)), layout="constrained")
    shown = {
        point.version.number: point.version.revision
        for series in all_series
        for point in series.points
    }
    revisions = {shown[number]: place for place, number in enumerate(sorted(shown))}
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)
    for axis, (score, lines) in zip(axes[:, 0], panels.items(), strict=True):
        _panel(axis, score, lines, revisions)
    axes[-1, 0].set_xticks(list(revisions.values()), list(revisions), rotation=45, ha="right")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_figure(figure, path)


def _panel(axis: Any, score: str, lines: Sequence[Series], revisions: dict[str, int]) -> None:
    for series in lines:
        name = label(series.name.rpartition(" / ")[0])
        colour = None
        for points in series.stretches:
            x = [revisions[point.version.revision] for point in points]
            values = [point.value for point in points]
            (drawn,) = axis.plot(x, values, "o-", color=colour, markersize=4, label=name)
            # The next stretch belongs to the same line: same colour, no second legend entry.
            colour, name = drawn.get_color(), "_"
        for change in series.changes:
            at = revisions[change.version.revision]
            axis.axvline(at - 0.5, color=colour, linestyle="--", linewidth=1)
    axis.set_title(label(score), loc="left")
    axis.grid(alpha=0.3)
    if any(series.name.rpartition(" / ")[0] for series in lines):
        axis.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
