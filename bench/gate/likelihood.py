"""The likelihood of recorded speech under models: a deterministic, sensitive and fast score.

It is the mean negative log-likelihood of a unit, in nats, given all units before it (teacher
forcing), for the caption that is left out of the references. Nothing is sampled or transcribed, so
a change of weights that a thousand speeches would not show is detected in seconds. Whether
generated speech is worse is judged by the composite, unless the likelihood has fallen a lot.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from bench.datasets.base import Item
from bench.gate.golden import Golden, cell_id
from bench.gate.protocol import groups
from bench.gate.verdicts import Finding, Verdict
from bench.jobs.cells import Cell
from bench.systems.base import System

Likelihoods = Mapping[str, Mapping[str, float]]
"""Cell → item → nats a unit; only for cells whose systems compute it."""

RECORDINGS = 64
"""The number of recordings, those of the first items: the error of their mean is far below MORE."""
MORE = 0.01
"""The share by which nats may rise."""
SAME = 1e-3
"""The share by which the same weights may differ, through rounding on another machine."""
_SURE = 3.0
"""The number of standard errors beyond the allowed rise."""


def likelihoods(cells: Sequence[Cell], items: Sequence[Item], device: str) -> Likelihoods:
    """Returns the likelihoods for each cell without a prompt, computed once for each model."""
    by_system: dict[System, Mapping[str, float] | None] = {}
    by_cell: dict[str, Mapping[str, float]] = {}
    for cell in cells:
        system = cell.system.shared()
        if cell.prompt or cell.source is not None:
            continue
        if system not in by_system:
            by_system[system] = system.likelihood(items[:RECORDINGS], cell.caption, device)
        known = by_system[system]
        if known:
            by_cell[cell_id(cell)] = known
    return by_cell


def judge_likelihood(golden: Golden, now: Likelihoods, weights: Mapping[str, str]) -> list[Finding]:
    """Returns one finding for every model: `weights` are the job's, by cell."""
    findings = []
    for cells in groups(list(now)).values():
        cell = cells[0]
        table = golden.rows.filter(cell=cell).select("item", "nats").drop_nulls()
        rows = table.with_columns(now=pl.col("item").replace_strict(now[cell], default=None))
        rows = rows.drop_nulls()
        if rows.is_empty():
            continue
        was, here = (rows[name].to_numpy() for name in ("nats", "now"))
        same = weights[cell] == golden.signatures[cell].weights
        findings.append(_judged(cell, was, here, same))
    return findings


def _judged(
    cell: str,
    was: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    now: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    same: bool,
) -> Finding:
    change = (now - was) / was.mean()
    rise = float(change.mean())
    error = float(change.std(ddof=1)) / np.sqrt(len(change)) if len(change) > 1 else np.inf
    detail = (
        f"{now.mean():.4f} nats a unit, was {was.mean():.4f} ({rise:+.2%} ± {error:.2%}), may rise "
        f"by {MORE:.0%}; {len(now)} recordings"
    )
    verdict = Verdict.PASS
    if same and float(np.abs(change).max()) > SAME:
        verdict = Verdict.INCONCLUSIVE
        detail += "; the weights are the same, so the code has changed"
    if rise - _SURE * error > MORE:
        verdict = Verdict.REGRESSED
    return Finding(cell=cell, what="likelihood", verdict=verdict, detail=detail)
