"""How often a gate has false alarms with a single golden: lucky ones are hidden in a mean."""

import numpy as np

from bench.common.progress import progress
from bench.gate.boundaries import analysis_sizes
from bench.gate.composite import between, ruler
from bench.gate.judging import ANALYSES
from bench.gate.quality import judged
from bench.gate.verdicts import Rule, Verdict
from bench.metrics.base import SHORT, Array
from bench.metrics.shipped import METRICS
from tests.evidence.stored import Stored


def alarms(stored: Stored, goldens: int, gates: int, golden_seeds: int, seeds: int) -> Array:
    """Returns, for each of `goldens` goldens, the share of its gates that call an equal run worse.

    A golden's images are the same in all its gates; the golden, and every run of `seeds` that it
    judges, are drawn as in `simulated`. Only the composite is judged, at every analysis; guards
    have a level of their own.
    """
    counted = stored.golden.counted(stored.rows, stored.cell, METRICS)
    names = [
        score.name for score in counted.scores if score.display_priority >= SHORT and score.ranked
    ]
    items = stored.items
    sizes = analysis_sizes(items, ANALYSES)
    shares = tuple(size / items for size in sizes)
    alarms = np.zeros(goldens)
    with progress() as report:
        for golden in range(goldens):
            rng = np.random.default_rng([9, golden_seeds, golden])
            at = rng.integers(stored.seeds, size=(golden_seeds, items)) * items + np.arange(items)
            base = counted.with_values(counted.values[at.ravel()])
            measure = ruler(base, items, names)
            units = (counted.values @ measure.slopes).reshape(-1, items)
            before = (base.values @ measure.slopes).reshape(-1, items).mean(0)
            for _ in range(gates):
                drawn = rng.integers(stored.seeds, size=(seeds, items))
                after = np.take_along_axis(units, drawn, axis=0).mean(0)
                for analysis, size in enumerate(sizes):
                    lost = between(measure, before[:size], after[:size], golden_seeds, seeds=seeds)
                    if (
                        judged(lost, 0.0, size, Rule(shares=shares, analysis=analysis))
                        == Verdict.REGRESSED
                    ):
                        alarms[golden] += 1
                        break
            report(f"goldens of {golden_seeds} seeds", golden + 1, goldens)
    return alarms / gates
