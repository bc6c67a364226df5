"""Guards: checks of failures, silence, ends of speech, duration and stale output."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from bench.gate.golden import Golden
from bench.gate.verdicts import Finding, Rule, Verdict
from bench.scoring.inference import sign_test, student_quantile

FAILED_MORE = 0.02
UNENDED_MORE = 0.05
SILENT_MORE = 0.02
SECONDS_OFF = 0.15
"""By how much a share of items may rise, and by how many seconds the mean duration may change."""


def _rate(
    cell: str, what: str, before: pl.Series, after: pl.Series, *, more: float, alarm: float
) -> Finding:
    """Returns a finding on a rate that may rise a little, or more by chance at a level `alarm`."""
    was, now = (float(flags.cast(int).to_numpy().mean()) for flags in (before, after))
    verdict = Verdict.PASS
    if now > was + more:
        chance = sign_test(int((after & ~before).sum()), int((before & ~after).sum()))
        verdict = Verdict.INCONCLUSIVE if chance > alarm else Verdict.REGRESSED
    return Finding(
        cell=cell,
        what=what,
        verdict=verdict,
        detail=f"{now:.1%}, was {was:.1%}, may rise by {more:.0%}",
    )


def _duration(cell: str, before: pl.DataFrame, after: pl.DataFrame, alarm: float) -> Finding:
    """Returns a finding on mean seconds of what both runs generated, by a paired t-test."""
    generated = (before["status"] == "ok") & (after["status"] == "ok")
    was, now = (
        rows.filter(generated)["seconds"].fill_null(0.0).to_numpy().astype(np.float64)
        for rows in (before, after)
    )
    if not len(was):
        return Finding(
            cell=cell,
            what="mean duration",
            verdict=Verdict.PASS,
            detail="nothing generated in both",
        )
    mean, moved = float(was.mean()), float((now - was).mean())
    verdict = Verdict.PASS
    if abs(moved) > SECONDS_OFF * mean:
        verdict = Verdict.INCONCLUSIVE
        if len(was) > 1:
            error = float((now - was).std(ddof=1)) / np.sqrt(len(was))
            if abs(moved) > student_quantile(1 - alarm / 2, len(was) - 1) * error:
                verdict = Verdict.REGRESSED
    detail = f"{mean + moved:.2f} s, was {mean:.2f} s, may move by {SECONDS_OFF:.0%}"
    return Finding(cell=cell, what="mean duration", verdict=verdict, detail=detail)


def guards(cell: str, before: pl.DataFrame, after: pl.DataFrame, rule: Rule) -> list[Finding]:
    """Returns findings on rates and durations on the same items.

    Failures and silence do not occur by chance; ends of speech and durations are sampled.
    """

    def of(rows: pl.DataFrame, hit: pl.Expr) -> pl.Series:
        return rows.select(hit.fill_null(False).alias("hit"))["hit"]

    rates = (
        ("failed", pl.col("status") != "ok", FAILED_MORE, 1.0),
        ("silent", pl.col("silent"), SILENT_MORE, 1.0),
        ("no end of speech", ~pl.col("ended"), UNENDED_MORE, rule.guard),
    )
    findings = [
        _rate(cell, what, of(before, hit), of(after, hit), more=more, alarm=alarm)
        for what, hit, more, alarm in rates
    ]
    return [*findings, _duration(cell, before, after, rule.guard)]


def _same_units(before: pl.DataFrame, after: pl.DataFrame) -> float:
    """Returns the share of items with equal units; without units, with equal transcripts."""
    generated = (before["status"] == "ok") & (after["status"] == "ok")
    before, after = before.filter(generated), after.filter(generated)
    column = "units" if before["units"].bin.size().sum() else "transcript"
    return float((before[column].eq_missing(after[column])).sum()) / max(before.height, 1)


def fresh(golden: Golden, head: Golden, cell: str, items: Sequence[str]) -> list[Finding]:
    """Returns findings on weights with the outputs of other weights: they were not used."""
    now = head.signatures[cell]
    if not now.weights:
        return []
    mine = head.cell(cell, items)
    before = _same_units(golden.cell(cell, items), mine)
    changed = golden.signatures[cell].weights != now.weights
    stale = changed and before == 1
    how = "other weights" if changed else "the same weights"
    detail = f"{how}, {before:.1%} of items as in the golden"
    # Another machine rounds differently; on the same one, the code has changed the outputs.
    if not changed and before < 1 and golden.machine == head.machine:
        detail += "; if this is intended, accept a new golden"
        return [
            Finding(cell=cell, what="fresh output", verdict=Verdict.INCONCLUSIVE, detail=detail)
        ]
    for name, other in head.signatures.items():
        if (
            other.weights not in ("", now.weights)
            and _same_units(head.cell(name, items), mine) == 1
        ):
            stale, detail = True, f"all items equal those of {name}, which has other weights"
    verdict = Verdict.REGRESSED if stale else Verdict.PASS
    return [Finding(cell=cell, what="fresh output", verdict=verdict, detail=detail)]
