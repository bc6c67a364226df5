"""Did it get worse? Three-way verdicts on quality against a golden, and guards.

A loss that is sure and larger than a margin is a regression; that no loss is larger is a pass; all
else wants more items. Chance has a rate of false alarms that everything in one gate shares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from enum import IntEnum

import numpy as np
import polars as pl

from bench.gate.golden import Golden
from bench.metrics.base import SHORT, Metric
from bench.metrics.counted import Counted
from bench.scoring.inference import drawn_differences, sign_test, student
from bench.scoring.signature import POLICIES, Signature, differing

MARGIN_POINTS, MARGIN_SHARE = 0.5, 0.02
"""A loss below half a point or 2% of the golden's score, whichever is more, is none."""
ALARM = 0.05
"""The rate of false alarms over all that is compared in one gate.

Also the level at which a score has to be shown as kept. A pass needs that of all scores at the last
look, so their number and the looks make it no more likely by chance.
"""
FEWEST = 24
"""Items below which an interval is not trusted, unless nothing differs."""
FAILED_MORE = 0.02
UNENDED_MORE = 0.05
SILENT_MORE = 0.02
SECONDS_OFF = 0.15
"""Guards: shares of items by which a rate may rise, and by which mean duration may move."""


class Verdict(IntEnum):
    """Worst last."""

    PASS = 0
    INCONCLUSIVE = 1
    REGRESSED = 2


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, and what it came to."""

    cell: str
    what: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True)
class Rule:
    """What counts as a loss, and how many tests share the false alarms.

    `share` of a golden's score, if given, stands in for the usual margin. `looks` is how often
    one gate looks at the growing run, `cells` how many there are, `scores` how many are gated in
    each: those in short tables, for the others go with them.
    """

    share: float | None = None
    looks: int = 1
    cells: int = 1
    scores: int = 4

    def margin(self, score: float) -> float:
        """The loss, in points, up to which a score counts as kept."""
        if self.share is not None:
            return self.share * score
        return max(MARGIN_POINTS, MARGIN_SHARE * score)

    @property
    def alarm(self) -> float:
        """The level of one test: of scores, ends of speech and duration, in all cells and looks."""
        return ALARM / ((self.scores + 2) * self.cells * self.looks)


def _other_cells(golden: Sequence[str], here: Sequence[str]) -> str:
    """In what the cells of a job and of its golden differ, in words."""
    lacking = [name for name in golden if name not in here]
    for name in (name for name in here if name not in golden):
        near = get_close_matches(name, lacking, 1, 0.6)
        if not near:
            return f"your job has a cell that the golden has not: {name}"
        mine, theirs = name.split(", "), near[0].split(", ")
        ours = ", ".join(part for part in mine if part not in theirs)
        other = ", ".join(part for part in theirs if part not in mine)
        return f"{mine[0]}: {ours or 'less'} in your job, {other or 'less'} in the golden"
    return f"the golden has a cell that your job has not: {lacking[0]}"


def other_protocol(golden: Mapping[str, Signature], here: Mapping[str, Signature]) -> str:
    """Why a golden cannot judge a job of these signatures, "" where it can."""
    if golden.keys() != here.keys():
        return _other_cells(list(golden), list(here))
    for name, one in here.items():
        ours, theirs = asdict(one), asdict(golden[name])
        field = differing(ours, theirs, "gate")
        if field is not None:
            return (
                f"{name}: {POLICIES[field].meaning}: {ours[field]} in your job, {theirs[field]} in "
                "the golden"
            )
    return ""


def incomparable(golden: Golden, head: Golden) -> str:
    """Why a golden cannot judge a run, "" where it can."""
    reason = other_protocol(golden.signatures, head.signatures)
    for name in head.signatures if not reason else ():
        if head.columns[name] != golden.columns[name]:
            return f"{name}: counted by other metrics than the golden's"
    return reason


def quality(
    cell: str, before: Counted, after: Counted, rule: Rule, replicates: int = 2000
) -> list[Finding]:
    """The gated scores of one cell on the same items."""
    base = before.corpus()
    gated = {score.name for score in before.scores if score.kept >= SHORT}
    few = len(before) < FEWEST and not np.array_equal(before.values, after.values)
    findings = []
    freedom = max(len(before) - 1, 1)
    for name, (seen, drawn) in drawn_differences(before, after, replicates, 0).items():
        if name not in gated:
            continue
        score, error = float(base[name]), float(drawn.std())
        # The levels are too far out for quantiles of the replicates.
        low = seen - student(1 - ALARM, freedom) * error
        high = seen + student(1 - rule.alarm, freedom) * error
        margin = rule.margin(score)
        if few:
            verdict = Verdict.INCONCLUSIVE
        elif high < 0 and seen < -margin:
            verdict = Verdict.REGRESSED
        else:
            verdict = Verdict.PASS if low >= -margin else Verdict.INCONCLUSIVE
        detail = f"{seen:+.2f} from {score:.2f} [{low:+.2f}, {high:+.2f}], margin {margin:.2f}"
        findings.append(Finding(cell, name, verdict, detail))
    return findings


def _rate(
    cell: str, what: str, before: pl.Series, after: pl.Series, more: float, alarm: float
) -> Finding:
    """A rate that may rise a little; beyond that, by chance if `alarm` allows for any."""
    was, now = (float(one.cast(int).to_numpy().mean()) for one in (before, after))
    verdict = Verdict.PASS
    if now > was + more:
        chance = sign_test(int((after & ~before).sum()), int((before & ~after).sum()))
        verdict = Verdict.INCONCLUSIVE if chance > alarm else Verdict.REGRESSED
    return Finding(cell, what, verdict, f"{now:.1%}, was {was:.1%}, may rise by {more:.0%}")


def _duration(cell: str, before: pl.DataFrame, after: pl.DataFrame, alarm: float) -> Finding:
    """Mean seconds of what both runs generated, by a paired t-test."""
    generated = (before["status"] == "ok") & (after["status"] == "ok")
    was, now = (
        one.filter(generated)["seconds"].fill_null(0.0).to_numpy().astype(np.float64)
        for one in (before, after)
    )
    if not len(was):
        return Finding(cell, "mean duration", Verdict.PASS, "nothing generated in both")
    mean, moved = float(was.mean()), float((now - was).mean())
    verdict = Verdict.PASS
    if abs(moved) > SECONDS_OFF * mean:
        error = float((now - was).std(ddof=1)) / np.sqrt(len(was)) if len(was) > 1 else np.inf
        sure = len(was) > 1 and abs(moved) > student(1 - alarm / 2, len(was) - 1) * error
        verdict = Verdict.REGRESSED if sure else Verdict.INCONCLUSIVE
    detail = f"{mean + moved:.2f} s, was {mean:.2f} s, may move by {SECONDS_OFF:.0%}"
    return Finding(cell, "mean duration", verdict, detail)


def guards(cell: str, before: pl.DataFrame, after: pl.DataFrame, rule: Rule) -> list[Finding]:
    """Rates and durations that no mean of scores may hide, on the same items.

    Nothing fails or falls silent by chance; an end of speech and a duration are sampled.
    """

    def of(rows: pl.DataFrame, hit: pl.Expr) -> pl.Series:
        return rows.select(hit.fill_null(False).alias("hit"))["hit"]

    rates = (
        ("failed", pl.col("status") != "ok", FAILED_MORE, 1.0),
        ("silent", pl.col("silent"), SILENT_MORE, 1.0),
        ("no end of speech", ~pl.col("ended"), UNENDED_MORE, rule.alarm),
    )
    found = [
        _rate(cell, what, of(before, hit), of(after, hit), more, alarm)
        for what, hit, more, alarm in rates
    ]
    return [*found, _duration(cell, before, after, rule.alarm)]


def _same_units(before: pl.DataFrame, after: pl.DataFrame) -> float:
    """The share of generated items with equal units; of rows without any, of equal transcripts."""
    generated = (before["status"] == "ok") & (after["status"] == "ok")
    before, after = before.filter(generated), after.filter(generated)
    column = "units" if before["units"].bin.size().sum() else "transcript"
    return float((before[column].eq_missing(after[column])).sum()) / max(before.height, 1)


def fresh(golden: Golden, head: Golden, cell: str, items: Sequence[str]) -> list[Finding]:
    """Weights that say exactly what other weights say were not run at all."""
    now = head.signatures[cell]
    if not now.weights:
        return []
    mine = head.cell(cell, items)
    before = _same_units(golden.cell(cell, items), mine)
    changed = golden.signatures[cell].weights != now.weights
    stale = changed and before == 1
    how = "other weights" if changed else "the same weights"
    detail = f"{how}, {before:.0%} of items as in the golden"
    for name, other in head.signatures.items():
        if (
            other.weights not in ("", now.weights)
            and _same_units(head.cell(name, items), mine) == 1
        ):
            stale, detail = True, f"all items as those of {name}, which has other weights"
    verdict = Verdict.REGRESSED if stale else Verdict.PASS
    return [Finding(cell, "fresh output", verdict, detail)]


def judge(
    golden: Golden, head: Golden, items: Sequence[str], rule: Rule, known: Sequence[Metric]
) -> list[Finding]:
    """Every cell of a run of some items against the golden; `known` are the job's metrics."""
    findings: list[Finding] = []
    for cell in head.signatures:
        before, after = golden.cell(cell, items), head.cell(cell, items)
        lacking = len(items) - min(before.height, after.height)
        detail = f"{after.height} of {len(items)} items, the golden has {before.height}"
        verdict = Verdict.REGRESSED if lacking else Verdict.PASS
        findings.append(Finding(cell, "coverage", verdict, detail))
        if lacking:
            continue
        findings += guards(cell, before, after, rule)
        findings += fresh(golden, head, cell, items)
        was, now = (golden.counted(rows, cell, known) for rows in (before, after))
        findings += quality(cell, was, now, rule)
    return findings


def overall(findings: Sequence[Finding]) -> Verdict:
    """The worst of all."""
    return max((found.verdict for found in findings), default=Verdict.INCONCLUSIVE)
