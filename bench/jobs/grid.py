"""A job's grid: which variants of its systems become cells."""

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

from pydantic import model_validator

from bench.common.bounds import Bandwidth, Number, Seed, Share, Temperature, TopP
from bench.common.yamlfile import Strict
from bench.systems.base import System


class Point(Strict):
    """Values on some axes: all cells that have them, or, where included, one more cell."""

    system: str | None = None
    prompt: Share | None = None
    seed: Seed | None = None
    temperature: Temperature | None = None
    top_k: Number | None = None
    top_p: TopP | None = None
    bandwidth: Bandwidth | None = None
    asr: str | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The axes that are named."""
        return self.model_dump(exclude_none=True)


class Grid(Strict):
    """Axes that are crossed for every system they apply to, and cells to add or leave out.

    `seed`, `temperature`, `top_k`, `top_p` are PixVoxLM's, `prompt` that of all that take a
    prompt, `bandwidth` that of all that name a codec's.
    """

    prompt: tuple[Share, ...] = ()
    seed: tuple[Seed, ...] = ()
    temperature: tuple[Temperature, ...] = ()
    top_k: tuple[Number, ...] = ()
    top_p: tuple[TopP, ...] = ()
    bandwidth: tuple[Bandwidth, ...] = ()
    include: tuple[Point, ...] = ()
    exclude: tuple[Point, ...] = ()

    @model_validator(mode="after")
    def _included_systems(self) -> "Grid":
        if any(point.system is None for point in self.include):
            raise ValueError("include: every entry names the label of its system")
        return self


def _axes(system: System, grid: Grid) -> dict[str, tuple[Any, ...]]:
    """The axes that a system is varied on: the grid's values, or else its own."""
    return {
        axis: tuple(value for value in getattr(grid, axis) or own if system.allowed(axis, value))
        for axis, own in system.axes().items()
    }


def count(system: System, grid: Grid) -> int:
    """The most variants that a system can have, without making them."""
    included = sum(point.system == system.label for point in grid.include)
    return prod(len(values) for values in _axes(system, grid).values()) + included


def variants(system: System, grid: Grid) -> Iterator[System]:
    """A system at every point of the grid, exclusions apart, each with a single prompt."""
    axes = _axes(system, grid)
    points = (dict(zip(axes, values, strict=True)) for values in product(*axes.values()))
    # Points that are the same to a system, such as the seeds of greedy decoding, are one.
    yield from dict.fromkeys(system.at(point) for point in points)
    for point in grid.include:
        if point.system == system.label:
            yield system.at(point.values)


def matches(point: Point, system: System, asr: str) -> bool:
    """Whether a variant transcribed by an ASR has all the values of a point."""
    has = {"prompt": 0.0} | system.point() | {"system": system.label, "asr": asr}
    return all(axis in has and has[axis] == value for axis, value in point.values.items())
