"""Intervals and tests: right by a second way, and honest about what they do not know."""

import numpy as np
import pytest

from bench.metrics.counted import Counted
from bench.scoring.inference import compare, holm, intervals, resampled, sign_test, student
from bench.selfcheck.rates import simulated


def _cell(items: int, quality: float, seed: int) -> Counted:
    return simulated(items, quality, np.random.default_rng(seed))


def test_a_replicate_is_the_corpus_score_of_the_items_it_drew() -> None:
    cell = _cell(40, 0.6, 1)
    drawn = resampled(cell, 3, seed=5)
    rng = np.random.default_rng(5)
    for replicate, chosen in enumerate(rng.integers(40, size=(3, 40))):
        # Drawn by repeating rows instead of multiplying by counts.
        again = cell.of(cell.values[chosen].sum(0))
        for name, found in drawn.items():
            assert found[replicate] == pytest.approx(again[name], abs=1e-9)


def test_an_interval_of_a_mean_has_the_textbook_s_width() -> None:
    cell = _cell(1000, 0.6, 2)
    cider = cell.each()["CIDEr"]
    found = intervals(cell, 4000, 0.95)["CIDEr"]
    error = cider.std(ddof=1) / np.sqrt(len(cider))
    assert found.score == pytest.approx(cider.mean())
    assert (found.high - found.low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.06)


def test_a_system_does_not_differ_from_itself() -> None:
    cell = _cell(50, 0.6, 3)
    for found in compare(cell, cell, 200).values():
        assert found.difference == 0
        assert found.p_permutation == found.p_bootstrap == found.p_holm == 1


def test_the_sign_says_who_is_better_and_the_order_of_items_nothing() -> None:
    a, b = _cell(300, 0.5, 4), _cell(300, 0.7, 5)
    there, back = compare(a, b, 500), compare(b, a, 500)
    for name, found in there.items():
        assert found.difference > 0
        assert back[name].difference == -found.difference
        assert found.low > 0 > back[name].high
        assert found.p_holm < 0.05
        # What is so plainly there is larger than the least that would be seen.
        assert found.difference > found.detectable


def test_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="compare the same images"):
        compare(_cell(3, 0.5, 0), _cell(4, 0.5, 0), 100)
    both = _cell(3, 0.5, 0)
    with pytest.raises(ValueError, match="compare the same metrics"):
        compare(both, both.only(both.metrics[:2]), 100)


def test_small_samples_have_student_s_quantiles() -> None:
    # Tables of the t distribution, and five heads in five throws.
    for freedom, expected in ((5, 2.571), (11, 2.201), (30, 2.042)):
        assert student(0.975, freedom) == pytest.approx(expected, abs=5e-3)
    assert sign_test(5, 0) == 1 / 32
    assert sign_test(0, 0) == 1


def test_holm_is_the_textbook_s_example() -> None:
    # Holm 1979 by hand: 0.01 * 4, 0.02 * 3, max(0.03 * 2, 0.06), 0.2.
    found = holm({"a": 0.03, "b": 0.01, "c": 0.2, "d": 0.02})
    assert found == pytest.approx({"b": 0.04, "d": 0.06, "a": 0.06, "c": 0.2})
