"""`pixvox perf gate`: how often the gate cries wolf, and how surely it finds an injury.

Runs are drawn from simulated statistics (see bench.perf.statistics), where the truth is known:
two runs of one system for false alarms, and a system and its injured self for power.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.golden import Golden
from bench.perf.statistics import Said, damaged, losses, said, statistics_of
from bench.progress import progress
from bench.regression import Verdict, judge, overall
from bench.signature import Signature

CELL = "Delay at 0%, seed 0, whole, openai-whisper tiny.en"
_SIGNATURE = Signature(
    "scenes.test@0", "all", "none", "ptb", "m", "i", "tiny.en", "whole", "c", "w", "0", 0, 0, "0"
)


def _golden(one: Said, rng: np.random.Generator, weights: str = "w") -> Golden:
    """What one system said, as a golden keeps it."""
    items = len(one.length)
    values = statistics_of(one)
    seconds = 0.35 * one.length + rng.normal(0, 0.05, items)
    units = rng.integers(0, 256, (items, 4, 60), dtype=np.int16)
    rows = pl.DataFrame(
        {
            "cell": [CELL] * items,
            "item": [f"i{number:04d}" for number in range(items)],
            "status": ["ok"] * items,
            "transcript": [" ".join("w" * int(n)) for n in one.right.sum(1)],
            "seconds": seconds,
            "silent": [False] * items,
            "ended": [True] * items,
            "units": [one_item.tobytes() for one_item in units],
            "codebooks": pl.Series([4] * items, dtype=pl.Int32),
            "values": values.tolist(),
        }
    )
    signature = Signature(**{**_SIGNATURE.__dict__, "weights": weights, "n": items})
    return Golden("gate", "simulated", {CELL: signature}, rows)


def stored(items: int, rng: np.random.Generator) -> Golden:
    """A golden of one system."""
    return _golden(said(items, rng), rng)


def _replaced(golden: Golden, **columns: Any) -> Golden:
    rows = golden.rows.with_columns(**columns)
    return Golden(golden.job, golden.machine, golden.signatures, rows)


def _some(golden: Golden, rng: np.random.Generator, share: float) -> pl.Series:
    return pl.Series(rng.random(golden.rows.height) < share)


def _nothing(golden: Golden) -> pl.Expr:
    """Statistics of items of which nothing was heard."""
    width = len(golden.rows["values"][0])
    empty = np.zeros(width)
    # What remains of an empty hypothesis: the references' lengths, and that the item counts.
    keep = (9, 11, 13, 35)

    def emptied(values: list[float]) -> list[float]:
        found = empty.copy()
        found[list(keep)] = np.array(values)[list(keep)]
        return found.tolist()

    return pl.col("values").map_elements(
        lambda v: emptied(v.to_list()), return_dtype=pl.List(pl.Float64)
    )


def _silent(golden: Golden, rng: np.random.Generator) -> Golden:
    hit = _some(golden, rng, 0.1)
    return _replaced(
        golden,
        silent=hit,
        units=pl.when(hit).then(pl.lit(b"\0" * 480)).otherwise(pl.col("units")),
        values=pl.when(hit).then(_nothing(golden)).otherwise(pl.col("values")),
    )


def _truncated(golden: Golden, rng: np.random.Generator) -> Golden:
    return _replaced(
        golden, seconds=pl.col("seconds") * 0.7, units=pl.col("units").bin.slice(0, 320)
    )


def _dropped(golden: Golden, rng: np.random.Generator) -> Golden:
    rows = golden.rows.filter(~_some(golden, rng, 0.05))
    return Golden(golden.job, golden.machine, golden.signatures, rows)


def _cached(golden: Golden, rng: np.random.Generator) -> Golden:
    """Other weights are asked for, and the old model's outputs come back."""
    signatures = {
        name: Signature(**{**s.__dict__, "weights": "new"}) for name, s in golden.signatures.items()
    }
    return Golden(golden.job, golden.machine, signatures, golden.rows)


def _worse(golden: Golden, rng: np.random.Generator) -> Golden:
    """Words are lost until two BLEU-4 points are; the golden's own words, so the same seed."""
    one = said(golden.rows.height, np.random.default_rng(0))
    lost = damaged(one, losses()[0], rng)
    return _replaced(golden, values=pl.Series(statistics_of(lost).tolist()))


def _another(golden: Golden, rng: np.random.Generator) -> Golden:
    """The outputs of a much weaker model under the old one's name."""
    return _golden(said(golden.rows.height, rng, 0.45), rng)


INJURIES: Mapping[str, Callable[[Golden, np.random.Generator], Golden]] = {
    "two BLEU points lost": _worse,
    "truncated speech": _truncated,
    "silent outputs": _silent,
    "dropped items": _dropped,
    "cached outputs": _cached,
    "another model's outputs": _another,
}


def measure(runs: int, items: int) -> dict[str, Any]:
    """Shares of verdicts over simulated gate runs of `items` items."""
    counts: dict[str, dict[str, int]] = {}
    with progress() as report:
        for run in range(runs):
            rng = np.random.default_rng([7, run])
            hard = rng.normal(0, 0.6, items)
            base = _golden(said(items, rng, hardness=hard), rng)
            names = base.rows["item"].to_list()
            heads = {"the same run": base}
            heads["another seed, as good"] = _golden(said(items, rng, hardness=hard), rng)
            first = stored(items, np.random.default_rng(0))
            for name, injure in INJURIES.items():
                heads[name] = injure(first, rng)
            for name, head in heads.items():
                golden = base if name in ("the same run", "another seed, as good") else first
                verdict = overall(judge(golden, head, names))
                row = counts.setdefault(name, {v.name: 0 for v in Verdict})
                row[verdict.name] += 1
            report("gate", run + 1, runs)
    shares = {name: {v: n / runs for v, n in row.items()} for name, row in counts.items()}
    return {"runs": runs, "items": items, "shares": shares}


def run(runs: int, items: list[int], save: Path | None) -> int:
    """Measures, prints a line for every kind of run, and saves the shares if asked."""
    from bench.perf.machine import save as save_figures

    results = [measure(runs, size) for size in items]
    for result in results:
        for name, row in result["shares"].items():
            told = ", ".join(f"{v.lower()} {share:.1%}" for v, share in row.items())
            print(f"{result['items']} items, {name}: {told}")
    save_figures({"results": results}, save)
    return 0
