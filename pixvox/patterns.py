"""Codebook patterns as data: in which decoding step each unit is predicted.

The idea is audiocraft's (Copet et al. 2023, "Simple and Controllable Music Generation", section
2.3): a pattern lists, for every step, the (frame, codebook) coordinates that the step predicts.
Everything that differs between patterns is in that list, so model, loss and decoding know none
of them by name.

`delay` for K = 4 codebooks of N = 3 frames, a column a step, `t` the frame that it predicts:

    step   0  1  2  3  4  5
    q = 0  0  1  2  .  .  .
    q = 1  .  0  1  2  .  .
    q = 2  .  .  0  1  2  .
    q = 3  .  .  .  0  1  2

and the same with `{"delays": [0, 0, 1, 3]}`, each codebook shifted by its own number of steps:

    q = 0  0  1  2  .  .  .
    q = 1  0  1  2  .  .  .
    q = 2  .  0  1  2  .  .
    q = 3  .  .  .  0  1  2
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from pixvox.patternnames import delays_of, pattern_name

if TYPE_CHECKING:
    from torch import Tensor


class Coord(NamedTuple):
    """One unit: its frame `t` and its codebook `q`, both from 0."""

    t: int
    q: int


@dataclass(frozen=True)
class Layout:
    """The steps of one pattern for K codebooks and N frames, validated on construction.

    Raises ValueError unless every (t, q) occurs exactly once, no step predicts two units of one
    codebook, and each codebook's frames are in order (a later frame may depend on an earlier one).
    A frame's first codebook may not come after its others, because it ends the speech.
    """

    codebooks: int
    frames: int
    steps: tuple[tuple[Coord, ...], ...]

    def __post_init__(self) -> None:
        last = [-1] * self.codebooks
        for number, step in enumerate(self.steps):
            leads = max([last[0], *(t for t, q in step if q == 0)])
            codebooks = [coord.q for coord in step]
            if len(set(codebooks)) != len(codebooks):
                raise ValueError(f"step {number} predicts one codebook twice: {step}")
            for t, q in step:
                if not 0 <= q < self.codebooks or not 0 <= t < self.frames:
                    raise ValueError(f"step {number} names ({t}, {q}), outside the layout")
                if t > leads:
                    raise ValueError(f"step {number}: codebook {q} is ahead of the first at {t}")
                if t != last[q] + 1:
                    raise ValueError(f"step {number}: frame {t} of codebook {q} is out of order")
                last[q] = t
        if any(end != self.frames - 1 for end in last):
            raise ValueError(f"not every frame is predicted: codebooks end at frames {last}")

    @cached_property
    def step_of(self) -> "Tensor":
        """The step that predicts each unit, `[K, N]`."""
        import torch

        index = torch.zeros(self.codebooks, self.frames, dtype=torch.long)
        for number, step in enumerate(self.steps):
            for t, q in step:
                index[q, t] = number
        return index

    @cached_property
    def frame_of(self) -> "Tensor":
        """The frame that each step predicts in each codebook, `[K, S]`; -1 for none."""
        import torch

        index = torch.full((self.codebooks, len(self.steps)), -1, dtype=torch.long)
        for number, step in enumerate(self.steps):
            for t, q in step:
                index[q, number] = t
        return index

    def build(self, units: "Tensor", empty: int) -> "Tensor":
        """Returns units `[..., K, N]` as the sequence of steps `[..., K, S]`; `empty` fills the
        gaps.

        Raises ValueError for another number of codebooks or frames.
        """
        import torch

        if units.shape[-2:] != (self.codebooks, self.frames):
            raise ValueError(f"units {tuple(units.shape)} do not fit {self.codebooks} codebooks")
        frame = self.frame_of.to(units.device)
        gathered = units.gather(-1, frame.clamp_min(0).expand(*units.shape[:-1], -1))
        return torch.where(frame < 0, empty, gathered)

    def revert(self, sequence: "Tensor") -> "Tensor":
        """Returns units `[..., K, N]` of steps `[..., K, S]`, the inverse of `build`."""
        step = self.step_of.to(sequence.device)
        return sequence.gather(-1, step.expand(*sequence.shape[:-1], -1))


def _delayed(delays: Sequence[int], frames: int) -> tuple[tuple[Coord, ...], ...]:
    """Returns steps in which codebook q lags `delays[q]` frames, after the codebooks ahead."""
    return tuple(
        tuple(Coord(s - lag, q) for q, lag in enumerate(delays) if 0 <= s - lag < frames)
        for s in range(frames + max(delays))
    )


def _flatten(codebooks: int, frames: int) -> tuple[tuple[Coord, ...], ...]:
    """Returns one unit a step, frame by frame: exact conditioning at K times the steps."""
    return tuple((Coord(t, q),) for t in range(frames) for q in range(codebooks))


def _coarse_first(codebooks: int, frames: int) -> tuple[tuple[Coord, ...], ...]:
    """Returns steps of the first codebook, then all others together (audiocraft's "VALL-E")."""
    first = tuple((Coord(t, 0),) for t in range(frames))
    if codebooks == 1:
        return first
    return first + tuple(tuple(Coord(t, q) for q in range(1, codebooks)) for t in range(frames))


def frame_tables(pattern: str, codebooks: int, frames: Sequence[int]) -> "Tensor":
    """Returns `[B, K, S]`: each row's `frame_of` for its own frames, -1 after its last step."""
    import torch
    from torch.nn import functional as F

    tables = [layout(pattern, codebooks, number).frame_of for number in frames]
    steps = max(table.shape[1] for table in tables)
    return torch.stack([F.pad(table, (0, steps - table.shape[1]), value=-1) for table in tables])


@lru_cache(maxsize=4096)
def layout(pattern: str, codebooks: int, frames: int) -> Layout:
    """Returns the layout of a named pattern; raises ValueError for an unknown name."""
    name = pattern_name(pattern)
    delays = delays_of(name, codebooks)
    if delays is not None:
        return Layout(codebooks, frames, _delayed(delays, frames))
    make = {"flatten": _flatten, "coarse-first": _coarse_first}[name]
    return Layout(codebooks, frames, make(codebooks, frames))
