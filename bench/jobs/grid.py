"""The grid of a job: the variants of its systems that become cells.

Its axes are declared by systems (bench.systems.axes).
"""

from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import create_model, model_validator

from bench.common.yamlfile import Strict
from bench.systems.base import System
from bench.systems.shipped import AXES

if TYPE_CHECKING:

    class _PointAxes(Strict):
        system: str | None = None

    class _GridAxes(Strict):
        pass

else:
    _PointAxes = create_model(
        "_PointAxes",
        __base__=Strict,
        __module__=__name__,
        system=(str | None, None),
        **{axis.name: (axis.type | None, None) for axis in AXES},
    )
    _GridAxes = create_model(
        "_GridAxes",
        __base__=Strict,
        __module__=__name__,
        **{axis.name: (tuple[axis.type, ...], ()) for axis in AXES},
    )


class Point(_PointAxes):
    """Values on some axes: in `exclude` all cells with these values, in `include` one cell."""

    meanings: ClassVar[Mapping[str, str]] = {
        "system": "A system's label.",
        **{axis.name: axis.meaning for axis in AXES},
    }
    asr: str | None = None
    """An ASR's label: its backend and model, as in `openai-whisper tiny.en`."""

    @property
    def values(self) -> dict[str, Any]:
        """The axes that are set, with their values."""
        return self.model_dump(exclude_none=True)


class Grid(_GridAxes):
    """Axes that are crossed for every system that has them, and cells to include or exclude.

    Each axis is a list of values.
    """

    meanings: ClassVar[Mapping[str, str]] = {axis.name: axis.meaning for axis in AXES}
    include: tuple[Point, ...] = ()
    """Single cells in addition to the crossed ones; each entry names its system."""
    exclude: tuple[Point, ...] = ()
    """Cells to leave out: all that have all the values of an entry."""

    @model_validator(mode="after")
    def _included_systems(self) -> "Grid":
        if any(point.system is None for point in self.include):
            raise ValueError("include: every entry must name the label of its system")
        return self

    def values(self, axis: str) -> tuple[Any, ...]:
        """Returns the values of an axis that are crossed; empty if the grid does not set it."""
        values: tuple[Any, ...] = getattr(self, axis)
        return values

    @property
    def crossed(self) -> list[str]:
        """The axes that the grid sets."""
        return [axis.name for axis in AXES if self.values(axis.name)]


def _axes(system: System, grid: Grid) -> dict[str, tuple[Any, ...]]:
    """Returns the values of each axis of a system: the grid's, or else the system's own."""
    return {
        axis: tuple(value for value in grid.values(axis) or own if system.allowed(axis, value))
        for axis, own in system.values().items()
    }


def count(system: System, grid: Grid) -> int:
    """Returns the highest number of variants that a system can have, without creating them."""
    included = sum(point.system == system.label for point in grid.include)
    return prod(len(values) for values in _axes(system, grid).values()) + included


def variants(system: System, grid: Grid) -> Iterator[System]:
    """Yields a system at every point of the grid, exclusions apart, each with a single prompt."""
    axes = _axes(system, grid)
    points = (dict(zip(axes, values, strict=True)) for values in product(*axes.values()))
    # Points that are equal for a system, such as seeds of greedy decoding, are merged.
    yield from dict.fromkeys(system.at(point) for point in points)
    for point in grid.include:
        if point.system == system.label:
            yield system.at(point.values)


def matches(point: Point, system: System, asr: str) -> bool:
    """Returns whether a variant transcribed by an ASR has all the values of a point."""
    has = {"prompt": 0.0} | system.point() | {"system": system.label, "asr": asr}
    return all(axis in has and has[axis] == value for axis, value in point.values.items())
