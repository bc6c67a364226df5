"""Patterns: what is built is reverted, and what is not a pattern is refused."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pixvox.patterns import PATTERN_NAMES, Coord, Layout, frame_tables, layout


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


@given(st.sampled_from(PATTERN_NAMES), st.integers(1, 6), st.lists(st.integers(1, 20), min_size=1))
def test_a_row_is_laid_out_for_its_own_length(
    pattern: str, codebooks: int, frames: list[int]
) -> None:
    tables = frame_tables(pattern, codebooks, frames)
    for table, number in zip(tables, frames, strict=True):
        own = layout(pattern, codebooks, number).frame_of
        assert torch.equal(table[:, : own.shape[1]], own)
        assert bool((table[:, own.shape[1] :] == -1).all())


@given(st.sampled_from(PATTERN_NAMES), st.integers(1, 6), st.integers(1, 20), st.integers(1, 20))
def test_no_step_depends_on_an_end_that_is_not_yet_known(
    pattern: str, codebooks: int, frames: int, more: int
) -> None:
    # Decoding starts with the longest layout and learns the length when codebook 1 ends.
    short, long = (layout(pattern, codebooks, n) for n in (frames, frames + more))
    known = int(short.step_of[0, -1]) + 1
    assert torch.equal(short.frame_of[:, :known], long.frame_of[:, :known])


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("flatten", [[11, 0, 0, 12, 0, 0], [0, 21, 0, 0, 22, 0], [0, 0, 31, 0, 0, 32]]),
        ("coarse-first", [[11, 12, 0, 0], [0, 0, 21, 22], [0, 0, 31, 32]]),
        ("partial-delay", [[11, 12, 0], [0, 21, 22], [0, 31, 32]]),
        ("parallel", [[11, 12], [21, 22], [31, 32]]),
    ],
)
def test_the_other_patterns_are_the_published_ones(pattern: str, expected: list[list[int]]) -> None:
    # Copet et al. 2023, figure 1, for K = 3 and 2 frames; 0 stands for an empty slot.
    units = torch.tensor([[11, 12], [21, 22], [31, 32]])
    assert layout(pattern, 3, 2).build(units, empty=0).tolist() == expected


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        (((Coord(0, 0),), (Coord(1, 0),)), "not every frame"),
        (((Coord(0, 0), Coord(0, 0), Coord(0, 1)),), "twice"),
        (((Coord(1, 0), Coord(0, 1)), (Coord(0, 0), Coord(1, 1))), "out of order"),
        (((Coord(0, 0), Coord(0, 2)),), "outside"),
        (((Coord(0, 1),), (Coord(0, 0),)), "ahead of the first"),
    ],
)
def test_an_invalid_layout_is_refused(steps: tuple[tuple[Coord, ...], ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Layout(2, 2, steps)


def test_an_unknown_pattern_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'zigzag'; choose one of parallel, delay"):
        layout("zigzag", 4, 4)
