"""Two runs' paired differences as text: tables for a terminal and in Markdown, with notes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from rich.console import Console
from rich.text import Text

from bench.common.text import inert_markdown, plural
from bench.report.fit import Column, numbers
from bench.report.terminal import draw, say
from bench.tables.testing import SIGNIFICANT


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The comparison of two runs: their names, a frame of `PAIRED`, and its circumstances.

    `counts` are the numbers of items of each run, `items` that of common ones; `doubts` are
    differences between the runs' protocols, and `alone` the systems that only one run has. `units`
    are those of scores that are not in percent.
    """

    names: tuple[str, str]
    frame: pl.DataFrame
    items: int
    counts: tuple[int, int]
    confidence: float
    doubts: Sequence[str] = ()
    alone: Sequence[str] = ()
    units: Sequence[tuple[str, str]] = ()

    @property
    def title(self) -> str:
        """The title, with the names of both runs."""
        return f"{self.names[1]} (second) compared with {self.names[0]} (first)"

    @property
    def systems(self) -> list[pl.DataFrame]:
        """The rows of each system separately, without systems that are equal."""
        parts = self.frame.partition_by("system", maintain_order=True)
        return [part for part in parts if not _is_equal(part)]

    @property
    def equal(self) -> list[str]:
        """The systems whose statistics are equal in both runs for every image."""
        parts = self.frame.partition_by("system", maintain_order=True)
        return [str(part["system"][0]) for part in parts if _is_equal(part)]


def _is_equal(system: pl.DataFrame) -> bool:
    # The detectable difference is 0 if no image's statistics differ.
    ends = system.select("difference", "low", "high", "detectable")
    return all((ends[name] == 0).all() for name in ends.columns)


_HEADS = ("score", "first", "second", "difference", "interval", "p", "detectable")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    star = "*" if row["p_adjusted"] < SIGNIFICANT else ""
    p = "<0.001" if row["p_adjusted"] < 0.001 else f"{row['p_adjusted']:.3f}"
    return (
        str(row["metric"]),
        f"{row['first']:z.2f}",
        f"{row['second']:z.2f}",
        f"{row['difference']:+z.2f}{star}",
        f"[{row['low']:+z.1f}, {row['high']:+z.1f}]",
        p,
        f"{row['detectable']:.1f}",
    )


def notes(shown: Comparison) -> list[str]:
    """Returns the notes below the tables, of a sentence or two each."""
    first, second = shown.counts
    images = plural(shown.items, "image")
    same = shown.items == first == second
    of = "both runs have" if same else f"both runs have, of {first} and {second}"
    differs = (shown.frame["p_adjusted"] < SIGNIFICANT).any()
    said = "*: differs at 5%" if differs else f"no score differs significantly (5%, {images})"
    return [
        *(f"≈ {doubt} The difference may come from that." for doubt in shown.doubts),
        *([f"Not compared, in one run only: {', '.join(shown.alone)}."] if shown.alone else []),
        *([f"Equal for every image: {'; '.join(shown.equal)}."] if shown.equal else []),
        f"Measured on the {images} that {of}; {_units(shown)}.",
        f"Difference: second minus first. Interval: {shown.confidence:.0%} bootstrap over images.",
        f"{said}. p: paired permutation test, adjusted for all {shown.frame.height} rows.",
        "Detectable: the smallest true difference found with 80% power on this number of images.",
    ]


def _units(shown: Comparison) -> str:
    """Returns the units of the scores, in words."""
    return ", ".join(["in percent", *(f"{name} in {unit}" for name, unit in shown.units)])


def show_comparison(shown: Comparison, console: Console) -> None:
    """Prints a table for each system, and the notes."""
    say(console, shown.title, "bold")
    for system in shown.systems:
        rows = [_cells(row) for row in system.iter_rows(named=True)]
        first, *rest = zip(*rows, strict=True)
        scores = Column(_HEADS[0], [Text(name) for name in first], text=True)
        columns = [scores, *(numbers(*cells) for cells in zip(_HEADS[1:], rest, strict=True))]
        draw(console, columns, system["system"][0])
        console.print()
    for line in notes(shown):
        say(console, line, "dim")


def comparison_markdown(shown: Comparison) -> str:
    """Returns the same as GitHub Markdown."""
    lines = [f"### {inert_markdown(shown.title)}", ""]
    for system in shown.systems:
        lines += [f"**{inert_markdown(system['system'][0])}**", "", f"| {' | '.join(_HEADS)} |"]
        lines.append(f"|:--|{'--:|' * (len(_HEADS) - 1)}")
        for row in system.iter_rows(named=True):
            lines.append(f"| {' | '.join(map(inert_markdown, _cells(row)))} |")
        lines.append("")
    return "\n".join([*lines, *(f"- {inert_markdown(line)}" for line in notes(shown))]) + "\n"
