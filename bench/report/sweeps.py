"""The charts of a sweep: lines along every axis, heat maps of two axes, and the best points."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import polars as pl

from bench.common.text import clean
from bench.metrics.base import ALWAYS
from bench.report.drawn import SHADES, Line
from bench.report.text import score
from bench.tables.points import choices
from bench.tables.sweep import NUMERIC, SHORT_TABLES


@dataclass(frozen=True, kw_only=True)
class AxisChart:
    """A score along one axis, whose places are `named`; a line for each system and other value.

    If there would be too many lines to distinguish, a line is a mean over `averaged` axes.
    """

    axis: str
    metric: str
    lines: tuple[Line, ...]
    named: dict[float, str]
    averaged: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HeatCell:
    """A cell of a heat map: its score in percent, its text, and whether it is the best."""

    value: float
    text: str
    spread: str
    best: bool
    alike: bool


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """A score of one system over two axes, a mean over the `averaged` ones.

    `cells` are by the numbers of their column and row.
    """

    system: str
    metric: str
    across: str
    down: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    cells: dict[tuple[int, int], HeatCell]
    averaged: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The title, with the score, the system and the axes."""
        over = f", mean over {' and '.join(self.averaged)}" if self.averaged else ""
        return f"{self.system}: {self.metric} by {self.across} and {self.down}{over}"


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best point of one score and prompt share, and points that do not differ from it.

    `apart` are the points that differ significantly, and `images` is the number of items of a seed.
    """

    metric: str
    point: str
    score: str
    alike: tuple[str, ...]
    apart: tuple[str, ...]
    images: int

    @property
    def sentence(self) -> str:
        """The same as a sentence."""
        at = f"{self.point} ({self.score})"
        if not self.apart:
            none = f"with {self.images} items no point differs significantly"
            return f"{self.metric}: {none}; the best is {at}."
        start = f"{self.metric}: the best is {at};"
        if len(self.alike) > len(self.apart):
            return f"{start} significantly different at 5%: {'; '.join(self.apart)}."
        return f"{start} not significantly different at 5%: {'; '.join(self.alike) or 'none'}."


def words(axis: str) -> str:
    """Returns an axis's name in words."""
    return axis.replace("_", " ")


def _level(axis: str, value: Any) -> str:
    if value is None:
        return "one for all" if axis == "per_codebook" else "none"
    if axis == "prompt":
        return f"{value:.0%}"
    return f"{value:g}" if isinstance(value, float) else clean(str(value))


def _levels(frame: pl.DataFrame, axis: str) -> list[Any]:
    """Returns an axis's values in order; null is included only if it has a meaning."""
    values = frame[axis].unique().sort().to_list()
    return values if axis == "per_codebook" else [value for value in values if value is not None]


def _printed(value: float, low: float, high: float) -> tuple[str, str]:
    return score({"x": value, "x_low": low, "x_high": high}, "x")


def _heat_cell(row: Mapping[str, Any], is_frame_shown: bool) -> HeatCell:
    text, spread = _printed(row["score"], row["low"], row["high"])
    return HeatCell(
        value=row["score"],
        text=text,
        spread=spread,
        best=row["best"],
        alike=row["alike"] and is_frame_shown,
    )


def axis_charts(frame: pl.DataFrame, *, prompts: bool) -> Iterator[AxisChart]:
    """Yields a chart for each axis and score of short tables; for prompts on request."""
    axes = choices(frame)
    for axis in (axis for axis in axes if prompts or axis != "prompt"):
        levels = _levels(frame, axis)
        further = [other for other in axes if other != axis]
        for (metric,), part in frame.filter(SHORT_TABLES).group_by("metric", maintain_order=True):
            lines = _lines(part, axis, further, levels, is_mean=False)
            crowded = len(lines) > SHADES
            if crowded:
                lines = _lines(part, axis, [], levels, is_mean=bool(further))
            named = {_place(axis, level, levels): _level(axis, level) for level in levels}
            averaged = tuple(map(words, further)) if crowded else ()
            if lines:
                yield AxisChart(
                    axis=words(axis),
                    metric=str(metric),
                    lines=tuple(lines),
                    named=named,
                    averaged=averaged,
                )


def _place(axis: str, level: Any, levels: Sequence[Any]) -> float:
    return float(level) if axis in NUMERIC else float(levels.index(level))


def _lines(
    part: pl.DataFrame, axis: str, further: Sequence[str], levels: Sequence[Any], *, is_mean: bool
) -> list[Line]:
    """Returns the lines with more than one place along an axis."""
    lines = []
    several = part["system"].n_unique() > 1
    for key, rows in part.group_by("system", *further, maintain_order=True):
        at = rows.group_by(axis).agg(pl.col("score", "low", "high").mean()).to_dicts()
        placed = sorted((_place(axis, r[axis], levels), r) for r in at if r[axis] in levels)
        if len(placed) < 2:
            continue
        said = [f"{words(o)} {_level(o, v)}" for o, v in zip(further, key[1:], strict=True)]
        label = ", ".join([*([clean(str(key[0]))] if several or not said else []), *said])
        points = tuple((x, row["score"]) for x, row in placed)
        # A mean of several scores has no interval.
        spread = () if is_mean else tuple((x, row["low"], row["high"]) for x, row in placed)
        lines.append(Line(label, points, spread=spread))
    return lines


def heat_maps(frame: pl.DataFrame) -> Iterator[HeatMap]:
    """Yields a map of each score of all tables for every two axes that a system varies."""
    shown = frame.filter(pl.col("kept") >= ALWAYS)
    for (system, metric), part in shown.group_by("system", "metric", maintain_order=True):
        axes = choices(part)
        for across, down in combinations(axes, 2):
            # Upwards, as on other axes.
            columns, rows = _levels(part, across), _levels(part, down)[::-1]
            # If no cell differs, only the best one has a frame.
            apart = not part["alike"].all()
            means = part.group_by(across, down, maintain_order=True).agg(
                pl.col("score", "low", "high").mean(), pl.col("best", "alike").any()
            )
            yield HeatMap(
                system=clean(str(system)),
                metric=str(metric),
                across=words(across),
                down=words(down),
                columns=tuple(_level(across, level) for level in columns),
                rows=tuple(_level(down, level) for level in rows),
                cells={
                    (columns.index(row[across]), rows.index(row[down])): _heat_cell(row, apart)
                    for row in means.to_dicts()
                    if row[across] in columns and row[down] in rows
                },
                averaged=tuple(words(axis) for axis in axes if axis not in (across, down)),
            )


def bests(frame: pl.DataFrame) -> Iterator[Best]:
    """Yields the best point of each score and prompt share with several points."""
    prompts, systems = (frame[name].n_unique() for name in ("prompt", "system"))

    def name(row: dict[str, Any]) -> str:
        label = row["point"] if systems > 1 else row["point"].removeprefix(f"{row['system']}, ")
        return clean(label) + (f" at {row['prompt']:.0%}" if prompts > 1 else "")

    shown = frame.filter(SHORT_TABLES)
    for _, part in shown.group_by("metric", "prompt", maintain_order=True):
        for top in part.filter("best").to_dicts():
            alike = part.filter(pl.col("alike") & ~pl.col("best"))
            apart = part.filter(pl.col("tested") & ~pl.col("alike"))
            yield Best(
                metric=top["metric"],
                point=name(top),
                score=" ".join(_printed(top["score"], top["low"], top["high"])).strip(),
                alike=tuple(map(name, alike.to_dicts())),
                apart=tuple(map(name, apart.to_dicts())),
                images=top["n"] // top["seeds"],
            )
