"""How likely models find recorded speech: a figure without chance, and so sharp and quick.

The mean negative log-likelihood of a unit, in nats, with everything before it given (teacher
forcing), of the caption that no reference is. Nothing is sampled and nothing transcribed, so a
change of weights that a thousand speeches would not show is seen in seconds; whether what is
generated is worse is for the composite to say, unless likelihood has fallen by much.
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
"""Cell → item → nats a unit; only of cells whose systems know."""

RECORDINGS = 64
"""How many are taken, those of the first items: their mean's error is far below MORE."""
MORE = 0.01
"""The share by which nats may rise."""
SAME = 1e-3
"""The share up to which the same weights may differ, by rounding on another machine."""
_SURE = 3.0
"""Standard errors that a rise is beyond what is allowed."""


def likelihoods(cells: Sequence[Cell], items: Sequence[Item], device: str) -> Likelihoods:
    """Of every cell without a prompt, computed once for all that share a model."""
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
    """One finding for every model: `weights` are the job's, by cell."""
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
        detail += "; of the same weights: the code computes something else"
    if rise - _SURE * error > MORE:
        verdict = Verdict.REGRESSED
    return Finding(cell, "likelihood", verdict, detail)
