"""Patterns: what is built is reverted, and what is not a pattern is refused."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pixvox.configuration import PixVoxConfig
from pixvox.digests import WeightsError
from pixvox.patternnames import PATTERN_NAMES, delays_of, fitted_name, pattern_name
from pixvox.patterns import Coord, Layout, frame_tables, layout


@st.composite
def named(draw: st.DrawFn) -> tuple[str, int]:
    """Any pattern, by a name or by delays, and how many codebooks it is for."""
    codebooks = draw(st.integers(1, 6))
    lags = draw(st.lists(st.integers(0, 9), min_size=codebooks - 1, max_size=codebooks - 1))
    name = draw(st.sampled_from((*PATTERN_NAMES, pattern_name({"delays": [0, *lags]}))))
    return name, codebooks


@given(named(), st.integers(1, 40))
def test_revert_is_the_inverse_of_build(of: tuple[str, int], frames: int) -> None:
    pattern, codebooks = of
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


@given(named(), st.lists(st.integers(1, 20), min_size=1))
def test_a_row_is_laid_out_for_its_own_length(of: tuple[str, int], frames: list[int]) -> None:
    pattern, codebooks = of
    tables = frame_tables(pattern, codebooks, frames)
    for table, number in zip(tables, frames, strict=True):
        own = layout(pattern, codebooks, number).frame_of
        assert torch.equal(table[:, : own.shape[1]], own)
        assert bool((table[:, own.shape[1] :] == -1).all())


@given(named(), st.integers(1, 20), st.integers(1, 20))
def test_no_step_depends_on_an_end_that_is_not_yet_known(
    of: tuple[str, int], frames: int, more: int
) -> None:
    pattern, codebooks = of
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


@given(st.sampled_from(("parallel", "delay", "partial-delay")), st.integers(1, 9))
def test_a_list_of_delays_is_the_pattern_that_has_them(pattern: str, codebooks: int) -> None:
    delays = list(delays_of(pattern, codebooks) or ())
    listed = pattern_name({"delays": delays})
    assert layout(listed, codebooks, 7) == layout(pattern, codebooks, 7)
    # Under one name, so that tables and keys have one for one layout.
    assert layout(fitted_name(listed, codebooks), codebooks, 7) == layout(pattern, codebooks, 7)
    assert fitted_name(listed, codebooks) in PATTERN_NAMES


def test_delays_are_kept_as_a_name_that_comes_back() -> None:
    config = PixVoxConfig.tiny(pattern={"delays": [0, 1, 2, 4]})
    assert config.pattern == "delays-0-1-2-4"
    assert PixVoxConfig.from_dict(config.to_dict()).pattern == config.pattern
    assert PixVoxConfig.tiny(pattern={"delays": [0, 1, 2, 3]}).pattern == "delay"
    expected = [[11, 12, 0, 0], [21, 22, 0, 0], [0, 0, 31, 32]]
    units = torch.tensor([[11, 12], [21, 22], [31, 32]])
    assert layout("delays-0-0-2", 3, 2).build(units, empty=0).tolist() == expected


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ({"delays": [1, 2, 3, 4]}, "the first is 1 and must be 0"),
        ({"delays": [0, -1, 2, 3]}, r"delays\[1\]: -1 is no whole number from 0 to 999"),
        ({"delays": [0, True, 2, 3]}, r"delays\[1\]: True is no whole number"),
        ({"delays": []}, "delays: 0 of them"),
        ({"delays": "0123"}, "'0123' is no list"),
        ({"delays": [0, 1, 2]}, "delays for 3 codebooks, and there are 4"),
        ({"lags": [0, 1]}, "is no pattern; choose one of parallel, delay"),
        ("delays-0-x", "unknown pattern 'delays-0-x'"),
    ],
)
def test_delays_that_are_none_are_one_line(pattern: object, reason: str) -> None:
    with pytest.raises(WeightsError, match=reason) as refused:
        PixVoxConfig.tiny(pattern=pattern)
    assert "\n" not in str(refused.value)
