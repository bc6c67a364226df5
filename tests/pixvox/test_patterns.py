"""Patterns: what is built is reverted, and what is not a pattern is refused."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pixvox.patterns import PATTERN_NAMES, Coord, Layout, layout


@given(st.sampled_from(PATTERN_NAMES), st.integers(1, 9), st.integers(1, 40))
def test_revert_is_the_inverse_of_build(pattern: str, codebooks: int, frames: int) -> None:
    plan = layout(pattern, codebooks, frames)
    units = torch.arange(2 * codebooks * frames).view(2, codebooks, frames)
    sequence = plan.build(units, empty=-1)
    assert torch.equal(plan.revert(sequence), units)
    assert int((sequence >= 0).sum()) == units.numel()


def test_delay_is_the_published_staircase() -> None:
    # Copet et al. 2023, figure 1, "delay", for K = 3 and 4 frames; 0 stands for an empty slot.
    units = torch.tensor([[11, 12, 13, 14], [21, 22, 23, 24], [31, 32, 33, 34]])
    expected = [[11, 12, 13, 14, 0, 0], [0, 21, 22, 23, 24, 0], [0, 0, 31, 32, 33, 34]]
    assert layout("delay", 3, 4).build(units, empty=0).tolist() == expected


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        (((Coord(0, 0),), (Coord(1, 0),)), "not every frame"),
        (((Coord(0, 0), Coord(0, 0), Coord(0, 1)),), "twice"),
        (((Coord(1, 0), Coord(0, 1)), (Coord(0, 0), Coord(1, 1))), "out of order"),
        (((Coord(0, 0), Coord(0, 2)),), "outside"),
    ],
)
def test_an_invalid_layout_is_refused(steps: tuple[tuple[Coord, ...], ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Layout(2, 2, steps)


def test_an_unknown_pattern_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'zigzag'; choose one of parallel, delay"):
        layout("zigzag", 4, 4)
