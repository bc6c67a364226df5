"""Intervals and tests: right by a second way, and honest about what they do not know."""

from statistics import NormalDist

import numpy as np
import pytest

from bench.common.resampling import Resampling
from bench.metrics.counted import Counted
from bench.metrics.facts import Facts
from bench.scoring.families import Compared, adjusted
from bench.scoring.inference import (
    compare,
    intervals,
    permuted_differences,
    resampled,
    sign_test,
    student_quantile,
)
from tests.evidence.rates import said, simulated, statistics_of

FEW = Resampling(replicates=1000)


def _cell(items: int, quality: float, seed: int) -> Counted:
    return simulated(items, quality, np.random.default_rng(seed))


def test_a_replicate_is_the_corpus_score_of_the_items_it_drew() -> None:
    cell = _cell(40, 0.6, 1)
    drawn = resampled(cell, Resampling(replicates=3, seed=5))
    rng = np.random.default_rng(5)
    for replicate, chosen in enumerate(rng.integers(40, size=(3, 40))):
        # Drawn by repeating rows instead of multiplying by counts.
        again = cell.of(cell.values[chosen].sum(0))
        for name, replicates in drawn.items():
            assert replicates[replicate] == pytest.approx(again[name], abs=1e-9)


def test_an_interval_of_a_mean_has_the_textbook_s_width() -> None:
    cell = _cell(1000, 0.6, 2)
    cider = cell.each()["CIDEr"]
    interval = intervals(cell, Resampling(replicates=4000))["CIDEr"]
    error = cider.std(ddof=1) / np.sqrt(len(cider))
    assert interval.score == pytest.approx(cider.mean())
    assert (interval.high - interval.low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.06)


def test_a_share_of_nearly_all_has_a_short_interval() -> None:
    values = np.array([[4.0, 4.0, 5.0]] * 99 + [[3.0, 4.0, 5.0]])
    interval = intervals(Counted((Facts(),), values), FEW)["fact precision"]
    assert (round(interval.score, 2), interval.high) == (99.75, 100)
    assert 98.5 < interval.low < 99.5


def test_a_score_of_nothing_seen_is_not_certainly_none() -> None:
    # Without one run of four words right BLEU-4 is 0, and another sample may have one.
    rng = np.random.default_rng(3)
    cell = statistics_of(said(48, rng, 0.15))
    values = cell.values.copy()
    values[:, 3] = 0
    interval = intervals(cell.with_values(values), FEW)["BLEU-4"]
    assert interval.score < 0.01
    assert interval.low == interval.score
    assert 1 < interval.high < 15


def test_a_system_does_not_differ_from_itself() -> None:
    cell = _cell(50, 0.6, 3)
    for difference in compare(cell, cell, FEW).values():
        assert difference.difference == 0
        assert difference.p_permutation == difference.p_bootstrap == 1


def test_the_sign_says_who_is_better_and_the_order_of_items_nothing() -> None:
    a, b = _cell(300, 0.5, 4), _cell(300, 0.7, 5)
    there, back = compare(a, b, FEW), compare(b, a, FEW)
    for name, difference in there.items():
        assert difference.difference > 0
        assert back[name].difference == -difference.difference
        assert difference.low > 0 > back[name].high
        assert difference.p_permutation < 0.05
        # What is so plainly there is larger than the least that would be seen.
        assert difference.difference > difference.detectable


def test_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="compare the same images"):
        compare(_cell(3, 0.5, 0), _cell(4, 0.5, 0), FEW)
    both = _cell(3, 0.5, 0)
    with pytest.raises(ValueError, match="compare the same metrics"):
        compare(both, both.only(both.metrics[:2]), FEW)


def test_student_s_quantiles_are_those_of_tables() -> None:
    # Tables of the t distribution (NIST/SEMATECH e-Handbook 1.3.6.7.2), with three decimals.
    table = {
        0.975: {1: 12.706, 2: 4.303, 3: 3.182, 5: 2.571, 11: 2.201, 30: 2.042, 100: 1.984},
        0.995: {1: 63.657, 2: 9.925, 3: 5.841, 5: 4.032, 11: 3.106, 30: 2.750, 100: 2.626},
        0.999: {1: 318.309, 2: 22.327, 3: 10.215, 5: 5.893, 11: 4.025, 30: 3.385, 100: 3.174},
    }
    for probability, row in table.items():
        for freedom, expected in row.items():
            assert student_quantile(probability, freedom) == pytest.approx(expected, abs=6e-4)


def test_student_s_quantiles_are_those_of_closed_forms() -> None:
    # One degree of freedom is Cauchy's distribution; with two, t = (2p - 1) / sqrt(2p (1 - p)).
    for probability in (0.6, 0.975, 0.99875, 0.99999):
        cauchy = np.tan(np.pi * (probability - 0.5))
        two = (2 * probability - 1) / np.sqrt(2 * probability * (1 - probability))
        assert student_quantile(probability, 1) == pytest.approx(cauchy, rel=1e-8)
        assert student_quantile(probability, 2) == pytest.approx(two, rel=1e-8)
        # With many it is the normal distribution.
        normal = NormalDist().inv_cdf(probability)
        assert student_quantile(probability, 1_000_000) == pytest.approx(normal, rel=1e-4)
    for probability, freedom in ((0.5, 3), (1.0, 3), (0.975, 0)):
        with pytest.raises(ValueError, match="no quantile"):
            student_quantile(probability, freedom)


def test_a_sign_test_is_a_coin_s() -> None:
    assert sign_test(5, 0) == 1 / 32
    assert sign_test(0, 0) == 1


def test_a_family_s_p_values_are_those_of_its_largest_statistic() -> None:
    # Westfall and Young's algorithm 2.8 by loops, over dependent draws of three sizes.
    rng = np.random.default_rng(0)
    common = rng.normal(size=(400, 1))
    drawn = (common + rng.normal(size=(400, 4))) * [1, 10, 0.1, 1]
    observed = [4.5, 20.0, -0.2, 0.3]
    family = {n: Compared(s, drawn[:, n]) for n, s in enumerate(observed)}
    family[4] = Compared(0.0, np.zeros(400))
    unit = np.sqrt((drawn**2).mean(0))
    order = sorted(range(4), key=lambda n: -abs(observed[n]) / unit[n])
    expected, least = {4: 1.0}, 0.0
    for rank, n in enumerate(order):
        hits = sum(
            max(abs(row[m]) / unit[m] for m in order[rank:]) >= abs(observed[n]) / unit[n]
            for row in drawn
        )
        expected[n] = least = max(least, (hits + 1) / 401)
    p_values = adjusted(family)
    assert p_values == pytest.approx(expected)
    # A comparison that says what another one says costs nothing; an independent one does.
    twice = adjusted(family | {5: family[0]})
    assert twice[0] == p_values[0]
    alone = adjusted({0: family[0]})
    assert alone[0] < p_values[0]


def test_cells_that_are_compared_swap_the_same_images() -> None:
    a, b, c = (_cell(60, 0.5, seed) for seed in (6, 7, 8))
    mean = {}
    for name, (first, second) in {"ab": (a, b), "bc": (b, c), "ac": (a, c)}.items():
        mean[name] = permuted_differences(first, second, FEW)["CIDEr"].drawn
    # CIDEr is a mean, so its differences add up, draw by draw.
    assert mean["ac"] == pytest.approx(mean["ab"] + mean["bc"], abs=1e-9)
