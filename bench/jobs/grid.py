"""A job's grid: which variants of its systems become cells."""

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any

from pydantic import model_validator

from bench.common.bounds import (
    Bandwidth,
    Candidates,
    Decibels,
    Guidance,
    Numbers,
    Run,
    Seed,
    Share,
    Temperatures,
    TopPs,
)
from bench.common.yamlfile import Strict
from bench.systems.base import System


class Point(Strict):
    """Values on some axes: all cells that have them, or, where included, one more cell."""

    system: str | None = None
    """A system's label."""
    prompt: Share | None = None
    """A prompt's share."""
    seed: Seed | None = None
    """A seed of decoding."""
    temperature: Temperatures | None = None
    """A temperature of decoding."""
    top_k: Numbers | None = None
    """A `top_k` of decoding."""
    top_p: TopPs | None = None
    """A `top_p` of decoding."""
    guidance: Guidance | None = None
    """A scale of guidance of decoding."""
    longest_run: Run | None = None
    """The longest run of one unit in the first codebook."""
    candidates: Candidates | None = None
    """How many candidates decoding draws."""
    bandwidth: Bandwidth | None = None
    """A codec's bandwidth in kbps."""
    snr: Decibels | None = None
    """A signal-to-noise ratio in dB."""
    asr: str | None = None
    """An ASR's label: its backend and model, as in `openai-whisper tiny.en`."""

    @property
    def values(self) -> dict[str, Any]:
        """The axes that are named."""
        return self.model_dump(exclude_none=True)


class Grid(Strict):
    """Axes that are crossed for every system they apply to, and cells to add or leave out."""

    prompt: tuple[Share, ...] = ()
    """Shares of the reference speech, for systems that take a prompt."""
    seed: tuple[Seed, ...] = ()
    """Seeds of PixVoxLM's decoding."""
    temperature: tuple[Temperatures, ...] = ()
    """Temperatures of PixVoxLM's decoding; each one number, or a list of one for each codebook."""
    top_k: tuple[Numbers, ...] = ()
    """Values of `top_k` of PixVoxLM's decoding."""
    top_p: tuple[TopPs, ...] = ()
    """Values of `top_p` of PixVoxLM's decoding."""
    guidance: tuple[Guidance, ...] = ()
    """Scales of guidance of PixVoxLM's decoding."""
    longest_run: tuple[Run, ...] = ()
    """Longest runs of one unit in the first codebook, in PixVoxLM's decoding."""
    candidates: tuple[Candidates, ...] = ()
    """Numbers of candidates of PixVoxLM's decoding."""
    bandwidth: tuple[Bandwidth, ...] = ()
    """Bandwidths in kbps, for systems that name a codec's."""
    snr: tuple[Decibels, ...] = ()
    """Signal-to-noise ratios in dB, for speech in noise."""
    include: tuple[Point, ...] = ()
    """Single cells beside the crossed ones; each names its system."""
    exclude: tuple[Point, ...] = ()
    """Cells to leave out: all that have all the values of an entry."""

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
