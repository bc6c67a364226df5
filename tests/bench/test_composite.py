"""The gate's composite and its boundaries: right by published values, and by simulation."""

import numpy as np
import pytest

from bench.gate.boundaries import analysis_sizes, boundaries, spent
from bench.gate.composite import lost, ruler
from bench.gate.power import LUCK
from bench.gate.verdicts import ALARM
from bench.metrics.base import Array
from bench.metrics.counted import Counted
from tests.evidence.rates import damaged, losses, points, said, statistics_of

NAMES = ["BLEU-4", "METEOR", "ROUGE-L", "CIDEr"]
IMAGES = 100


def test_boundaries_are_the_published_ones() -> None:
    # gsDesign 3.6, sfLDOF, one-sided 2.5%, three equal analyses.
    assert boundaries((1 / 3, 2 / 3, 1.0), 0.025) == pytest.approx((3.710, 2.511, 1.993), abs=2e-3)
    # A single analysis is a plain test.
    assert boundaries((1.0,), 0.05)[0] == pytest.approx(1.645, abs=2e-3)
    assert spent(0.05, 1.0) == pytest.approx(0.05)


def test_all_analyses_together_spend_the_level() -> None:
    shares = (0.2, 0.5, 1.0)
    steps = np.random.default_rng(0).normal(size=(200_000, 3)) * np.sqrt(np.diff([0, *shares]))
    values = steps.cumsum(1) / np.sqrt(shares)
    beyond = (values < -np.array(boundaries(shares, 0.05))).any(1).mean()
    assert beyond == pytest.approx(0.05, abs=2e-3)


def test_analyses_are_even_parts() -> None:
    assert [analysis_sizes(most, 3) for most in (200, 48, 2)] == [
        [67, 133, 200],
        [16, 32, 48],
        [1, 2],
    ]


def _runs(hardness: Array, seeds: int, rng: np.random.Generator, damage: float = 0.0) -> Counted:
    each = [said(len(hardness), rng, hardness=hardness) for _ in range(seeds)]
    counted = [statistics_of(damaged(speech, damage, rng)) for speech in each]
    return counted[0].with_values(np.concatenate([run.values for run in counted]))


def test_the_composite_finds_what_single_scores_do_not_and_seldom_errs() -> None:
    rng = np.random.default_rng(1)
    damage, _ = losses()
    boundary = boundaries((1.0,), ALARM)[0]
    false = detected = alone = 0
    for _ in range(60):
        hardness = rng.normal(0, 0.6, IMAGES)
        golden = _runs(hardness, 8, rng)
        measure = ruler(golden, IMAGES, NAMES)
        single = ruler(golden, IMAGES, NAMES[:1])
        for loss in (0.0, damage):
            run = _runs(hardness, 4, rng, loss)
            for by in (measure, single):
                result = lost(by, golden, run, IMAGES)
                hit = result.units > boundary * result.error + LUCK * result.golden_error
                false += hit and not loss and by is measure
                detected += hit and bool(loss) and by is measure
                alone += hit and bool(loss) and by is single
    assert false <= 3
    assert detected > alone


def test_a_run_has_lost_nothing_against_itself_and_points_add_up() -> None:
    rng = np.random.default_rng(2)
    hardness = rng.normal(0, 0.6, IMAGES)
    golden = _runs(hardness, 2, rng)
    measure = ruler(golden, IMAGES, NAMES)
    none = lost(measure, golden, golden, IMAGES)
    assert (none.units, none.error) == (0, 0)
    only = ruler(golden, IMAGES, NAMES[:1])
    worse = _runs(hardness, 2, np.random.default_rng(2), 0.02)
    # Of a single score, units are its points but for the curve: 1% of what was lost.
    loss = lost(only, golden, worse, IMAGES)
    fell = points(golden) - points(worse)
    assert loss.units * only.points["BLEU-4"] == pytest.approx(fell, rel=0.1)
