"""How often the gate has false alarms, and how reliably it detects a regression.

Gate runs are simulated from stored runs: quality from a golden of several seeds (see
tests.evidence.stored), speed from measured replicates, some of which were slowed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl

from bench.commands.options import Parser, path, whole
from bench.common.atomic import write_text
from bench.common.errors import UserError
from bench.common.progress import progress
from bench.common.resampling import Resampling
from bench.common.text import plural
from bench.gate.boundaries import analysis_sizes, boundaries
from bench.gate.composite import lost
from bench.gate.golden import Golden, read_golden
from bench.gate.judging import ANALYSES
from bench.gate.power import LUCK, Measured
from bench.gate.power import measured as measured_by
from bench.gate.protocol import group_of, groups
from bench.gate.quality import judge
from bench.gate.verdicts import ALARM, GUARDED, Finding, Rule, Verdict, overall
from bench.metrics.shipped import METRICS
from bench.perf.turns import Replicate
from bench.perf.versions import ROUNDS, judge_speed
from tests.evidence.lucky import alarms
from tests.evidence.program import program
from tests.evidence.speed import WAYS
from tests.evidence.stored import Stored, read_stored, simulated

_NORMAL = NormalDist()
WIDER = 0.05
"""A margin beside the certified one, as a share of the scores."""
SEEDS = 4
"""The number of seeds of a simulated run."""
GOLDENS = (4, 96)
"""The numbers of seeds of simulated goldens: as many as a run has, and many."""
LUCKY, LUCKY_GATES = 50, 1000
"""The number of goldens whose false alarms are counted singly, and the number of gates of each."""

Shares = dict[str, dict[str, float]]


def _shares(verdicts: Mapping[str, Sequence[Verdict]]) -> Shares:
    return {
        name: {v.name: sum(verdict == v for verdict in results) / len(results) for v in Verdict}
        for name, results in verdicts.items()
    }


def _looked(base: Golden, head: Golden, items: int, margin: float | None) -> Verdict:
    """What a gate of a job of one system says, analysis by analysis, if its budget is enough for
    all."""
    sizes = analysis_sizes(items, ANALYSES)
    shares = tuple(size / items for size in sizes)
    rule = Rule(share=margin, shares=shares, cells=len(head.signatures))
    names = base.rows["item"].unique(maintain_order=True).to_list()
    for number, size in enumerate(sizes):
        findings = judge(
            base,
            head,
            names[:size],
            rule=replace(rule, analysis=number),
            known=METRICS,
            resampling=Resampling(),
        )
        verdict = overall(findings)
        if verdict == Verdict.REGRESSED:
            break
    return verdict


def quality(
    stored: Stored, runs: int, items: int, golden_seeds: int, margin: float | None
) -> Shares:
    """Returns shares of verdicts over simulated gate runs of `items` items and SEEDS."""
    verdicts: dict[str, list[Verdict]] = {}
    with progress() as report:
        for run in range(runs):
            rng = np.random.default_rng([7, items, golden_seeds, run])
            base, heads = simulated(stored, items, rng, golden_seeds, SEEDS)
            for name, head in heads.items():
                verdicts.setdefault(name, []).append(_looked(base, head, items, margin))
            report(f"gates of {items} items, golden of {golden_seeds}", run + 1, runs)
    return _shares(verdicts)


def predicted(
    stored: Stored, items: int, golden_seeds: int, margin: float | None
) -> dict[str, tuple[float, float]]:
    """Returns the probabilities to pass and to be detected, by the simulated goldens'
    certificates."""
    cells = groups(list(stored.golden.signatures))[group_of(stored.cell)]
    base = replace(measured_by(stored.golden, cells, METRICS), cells=cells[:1] * golden_seeds)
    worse = base.counted.with_values(stored.worse)
    units = lost(base.measure, base.counted, worse, stored.items).units
    sizes = analysis_sizes(items, ANALYSES)
    rule = Rule(share=margin, shares=tuple(size / items for size in sizes))
    return {
        name: (
            chance_passed(base, at, images=items, seeds=SEEDS, share=margin),
            chance_found(base, at, images=items, seeds=SEEDS, rule=rule),
        )
        for name, at in (("other seeds, as good", 0.0), ("two points lost, other seeds", units))
    }


def chance_found(base: Measured, units: float, *, images: int, seeds: int, rule: Rule) -> float:
    """Returns the probability that the last analysis detects a loss, over all goldens."""
    error, golden_error = base.errors(images, seeds)
    beyond = boundaries(rule.shares, ALARM / rule.groups)[-1] * error + LUCK * golden_error
    return _NORMAL.cdf((units - beyond) / float(np.hypot(error, golden_error)))


def chance_passed(
    base: Measured, units: float, *, images: int, seeds: int, share: float | None
) -> float:
    """Returns the probability that a run with this loss passes, by the certified margin or a
    share."""
    error = float(np.hypot(*base.errors(images, seeds)))
    margin = base.passable(images, seeds) if share is None else base.margin(share)
    return _NORMAL.cdf((margin - units) / error - _NORMAL.inv_cdf(1 - ALARM - GUARDED))


def speed(path: Path, runs: int) -> Shares:
    """Returns shares of verdicts over gate runs of rounds drawn from stored ones.

    Raises UserError for a file without them.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        ways = {n: [Replicate(**r) for r in rs] for n, rs in facts["replicates"].items()}
        canaries = [float(seconds) for seconds in facts["canaries"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: no stored replicates; make them: python -m tests.evidence.speed"
        ) from error
    if WAYS[0] not in ways or len(canaries) <= ROUNDS:
        raise UserError(
            f"{path}: fewer than {ROUNDS} rounds; make them: python -m tests.evidence.speed"
        )
    base = ways.pop(WAYS[0])
    verdicts: dict[str, list[Verdict]] = {}
    for run in range(runs):
        drawn = np.random.default_rng([8, run]).choice(len(base), ROUNDS, replace=False)
        beside = [canaries[n] for n in np.union1d(drawn, drawn + 1)]
        for name, judged in ways.items():
            findings: list[Finding] = judge_speed(
                [base[n] for n in drawn], [judged[n] for n in drawn], beside
            )
            verdicts.setdefault(name, []).append(overall(findings))
    return _shares(verdicts)


def run(golden: Path, replicates: Path, runs: int, items: Sequence[int], save: Path | None) -> int:
    """Simulates, prints a table, and saves it as JSON and Markdown if asked."""
    from bench.common.machine import save as save_figures
    from bench.report.files import plain_markdown
    from bench.report.terminal import make_console, show_frame

    slowed = speed(replicates, runs)
    stored = read_stored(read_golden(golden))
    rows = []
    for size, many, margin in product(items, GOLDENS, (None, WIDER)):
        shares = quality(stored, runs, size, many, margin)
        shown = f"{margin:.0%}" if margin else "certified"
        of = f"{size} × {SEEDS}, golden {many}"
        chances = predicted(stored, size, many, margin)
        rows += [_row(name, of, shown, row, chances.get(name)) for name, row in shares.items()]
    rows += [_row(name, f"{ROUNDS} rounds", "", row, None) for name, row in slowed.items()]
    lucky = [_lucky(stored, many) for many in GOLDENS]
    tables = {
        f"Verdicts of {runs} gate runs of each kind (items × seeds), in percent": rows,
        f"False alarms of single goldens, {LUCKY_GATES} equal runs each, in percent": lucky,
    }
    frames = {title: pl.DataFrame(table) for title, table in tables.items()}
    for title, frame in frames.items():
        show_frame(frame, title, make_console())
    saved = {"gates": runs, "golden": golden.name, "verdicts": rows, "goldens": lucky}
    save_figures(saved, save)
    if save is not None:
        text = "\n".join(plain_markdown(frame, title) for title, frame in frames.items())
        write_text(save.with_suffix(".md"), text)
    return 0


def _lucky(stored: Stored, golden_seeds: int) -> dict[str, Any]:
    """Returns the false alarms of single goldens with this many seeds."""
    percent = 100 * alarms(stored, LUCKY, LUCKY_GATES, golden_seeds, SEEDS)
    return {
        "golden": plural(golden_seeds, "seed"),
        "goldens": LUCKY,
        "mean": round(float(percent.mean()), 2),
        "the worst": round(float(percent.max()), 2),
        "goldens above 5%": int((percent > 5).sum()),
    }


def _row(
    name: str,
    size: str,
    margin: str,
    shares: Mapping[str, float],
    chances: tuple[float, float] | None,
) -> dict[str, Any]:
    percent = {verdict.lower(): round(100 * share, 2) for verdict, share in shares.items()}
    passed, failed = (round(100 * chance, 2) for chance in chances) if chances else (None, None)
    foreseen = {"pass predicted": passed, "regressed predicted": failed}
    return {"run": name, "of": size, "margin": margin, **percent, **foreseen}


def main(words: Sequence[str]) -> int:
    """Measures what the command line asks for; the exit code."""
    parser = Parser(
        prog="python -m tests.evidence.gates",
        description="How often the gate is wrong, either way.",
    )
    parser.add_argument(
        "golden", type=path, help="a golden of one model's seeds, and another model"
    )
    parser.add_argument("--speed", type=path, default=Path("results/perf/speed.json"))
    parser.add_argument("--gates", type=whole(1, 100_000), default=200, help="runs of each kind")
    parser.add_argument("--items", type=whole(1, 10_000_000), nargs="+", default=[48, 200])
    parser.add_argument("--save", type=path, help="write the figures as JSON")
    given = parser.parse_args(words)
    return run(given.golden, given.speed, given.gates, given.items, given.save)


if __name__ == "__main__":
    program(main)
