"""A job's grid: which variants of its systems become cells."""

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

from pydantic import model_validator

from bench.bounds import Bandwidth, Number, Seed, Share, Temperature, TopP
from bench.systems.specs import PixVoxSpec, PromptSpec, ResynthesisSpec, SystemSpec
from bench.yamlfile import Strict

DECODING_AXES = ("seed", "temperature", "top_k", "top_p")


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


def prompts_of(system: SystemSpec) -> tuple[float, ...]:
    """The prompt shares a system is asked for."""
    return system.prompts if isinstance(system, PixVoxSpec | PromptSpec) else (0.0,)


def with_values(system: SystemSpec, values: dict[str, Any]) -> SystemSpec:
    """The system at one point: decoding or bandwidth changed, one prompt."""
    if isinstance(system, PixVoxSpec):
        changes = {axis: values[axis] for axis in DECODING_AXES if axis in values}
        decoding = system.decoding.model_copy(update=changes)
        prompts = (values.get("prompt", system.prompts[0]),)
        return system.model_copy(update={"decoding": decoding, "prompts": prompts})
    if isinstance(system, PromptSpec | ResynthesisSpec) and "bandwidth" in values:
        system = system.model_copy(update={"bandwidth": values["bandwidth"]})
    if isinstance(system, PromptSpec):
        prompts = (values.get("prompt", system.prompts[0]),)
        return system.model_copy(update={"prompts": prompts})
    return system


def _axes(system: SystemSpec, grid: Grid) -> dict[str, tuple[Any, ...]]:
    """The axes that a system is varied on."""
    axes: dict[str, tuple[Any, ...]] = {}
    if isinstance(system, PixVoxSpec | PromptSpec):
        shares = grid.prompt or system.prompts
        # Nothing copied is no system.
        axes["prompt"] = tuple(s for s in shares if s > 0 or isinstance(system, PixVoxSpec))
    if isinstance(system, PixVoxSpec):
        axes |= {axis: getattr(grid, axis) for axis in DECODING_AXES if getattr(grid, axis)}
    if isinstance(system, PromptSpec | ResynthesisSpec) and grid.bandwidth:
        axes["bandwidth"] = grid.bandwidth
    return axes


def count(system: SystemSpec, grid: Grid) -> int:
    """How many variants a system has, without making them."""
    included = sum(point.system == system.label for point in grid.include)
    return prod(len(values) for values in _axes(system, grid).values()) + included


def variants(system: SystemSpec, grid: Grid) -> Iterator[SystemSpec]:
    """A system at every point of the grid, exclusions apart, each with a single prompt."""
    axes = _axes(system, grid)
    for values in product(*axes.values()):
        yield with_values(system, dict(zip(axes, values, strict=True)))
    for point in grid.include:
        if point.system == system.label:
            yield with_values(system, point.values)


def matches(point: Point, system: SystemSpec, asr: str) -> bool:
    """Whether a variant heard by an ASR has all the values of a point."""
    has: dict[str, Any] = {"system": system.label, "asr": asr, "prompt": prompts_of(system)[0]}
    if isinstance(system, PixVoxSpec):
        has |= {axis: getattr(system.decoding, axis) for axis in DECODING_AXES}
    if isinstance(system, PromptSpec | ResynthesisSpec):
        has["bandwidth"] = system.bandwidth
    return all(axis in has and has[axis] == value for axis, value in point.values.items())
