"""Did it get worse? Three-way verdicts on quality against a golden, and guards.

One figure that was chosen beforehand decides: the composite of the gated scores, of all seeds of a
cell together. A sure loss of it is a regression, that no loss is larger than a margin is a pass,
and all else wants more runs. Guards look at what no mean may hide.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from enum import IntEnum
from statistics import NormalDist

import numpy as np
import polars as pl

from bench.common.text import plural
from bench.gate.boundaries import boundaries
from bench.gate.composite import Lost, Ruler, lost, ruler
from bench.gate.golden import Golden
from bench.metrics.base import SHORT, Metric
from bench.metrics.counted import Counted
from bench.scoring.inference import sign_test, student
from bench.scoring.signature import POLICIES, Signature, differing

ALARM, GUARDED = 0.04, 0.01
"""The rates of false alarms of the composite and of all guards, over all that one gate compares."""
LUCK = 2.0
"""A golden is taken to be as many standard errors above its truth: 98% of goldens are not.

Without it a lucky golden raises false alarms in every gate that it judges.
"""
POWER = 0.8
"""With what chance a certificate says that a loss is found, and that an equal version passes."""
FEWEST = 24
"""Items below which an interval is not trusted, unless nothing differs."""
FAILED_MORE = 0.02
UNENDED_MORE = 0.05
SILENT_MORE = 0.02
SECONDS_OFF = 0.15
"""Guards: shares of items by which a rate may rise, and by which mean duration may move."""
_GUARDS = 2
"""Guards in which chance has a part: ends of speech, and duration."""
_SEED = re.compile(r", seed \d+")
_NORMAL = NormalDist()


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

    `share` of a golden's scores, if given, is the margin up to which a loss is allowed; else it is
    the one that its certificate names. `shares` are the looks' parts of all items, of which the
    gate is at the `look`-th. `groups` and `cells` are how many are judged.
    """

    share: float | None = None
    shares: tuple[float, ...] = (1.0,)
    look: int = 0
    groups: int = 1
    cells: int = 1

    @property
    def guard(self) -> float:
        """The level of one guard in one cell and look."""
        return GUARDED / (_GUARDS * self.cells * len(self.shares))

    @property
    def boundary(self) -> float:
        """How many standard errors a sure loss is at this look."""
        return boundaries(self.shares, ALARM / self.groups)[self.look]


def groups(cells: Sequence[str]) -> dict[str, list[str]]:
    """Cells that differ only in their seed, under the name that they share."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        found.setdefault(group_of(cell), []).append(cell)
    return found


def group_of(cell: str) -> str:
    """A cell's name without its seed."""
    return _SEED.sub("", cell)


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
    known = groups(list(here))
    # A golden may have more seeds than the job that it judges.
    if here.keys() - golden.keys() or groups(list(golden)).keys() - known.keys():
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


@dataclass(frozen=True)
class Measured:
    """A golden's runs of one cell, all seeds, and what they measure others by."""

    cells: list[str]
    images: int
    counted: Counted
    measure: Ruler

    def scores(self) -> dict[str, float]:
        """The golden's scores that are gated."""
        corpus = self.counted.corpus()
        return {name: float(corpus[name]) for name in self.measure.points}

    def margin(self, share: float) -> float:
        """A share of every gated score, in units of the composite."""
        parts = [share * score / self.measure.points[n] for n, score in self.scores().items()]
        return float(np.mean(parts)) if parts else 0.0

    def errors(self, images: int, seeds: int) -> tuple[float, float]:
        """Standard errors of a run of so many seeds and of the golden, of so many images."""
        each = self.measure.noise / np.sqrt(images)
        return float(each / np.sqrt(seeds)), float(each / np.sqrt(len(self.cells)))

    def findable(self, images: int, seeds: int, rule: Rule) -> float:
        """The loss that is found with POWER by the last look, in units."""
        error, golden_error = self.errors(images, seeds)
        beyond = boundaries(rule.shares, ALARM / rule.groups)[-1] * error + LUCK * golden_error
        return beyond + _NORMAL.inv_cdf(POWER) * float(np.hypot(error, golden_error))

    def passable(self, images: int, seeds: int) -> float:
        """The margin with which an equal version passes with POWER, in units."""
        sure = _NORMAL.inv_cdf(1 - ALARM - GUARDED) + _NORMAL.inv_cdf(POWER)
        return sure * float(np.hypot(*self.errors(images, seeds)))

    def found(self, units: float, images: int, seeds: int, rule: Rule) -> float:
        """With what chance a loss is found by the last look, over all goldens, lucky or not."""
        error, golden_error = self.errors(images, seeds)
        beyond = boundaries(rule.shares, ALARM / rule.groups)[-1] * error + LUCK * golden_error
        return _NORMAL.cdf((units - beyond) / float(np.hypot(error, golden_error)))

    def passed(self, units: float, images: int, seeds: int, share: float | None) -> float:
        """With what chance a run that lost so much passes, by the certified margin or a share."""
        error = float(np.hypot(*self.errors(images, seeds)))
        margin = self.passable(images, seeds) if share is None else self.margin(share)
        return _NORMAL.cdf((margin - units) / error - _NORMAL.inv_cdf(1 - ALARM - GUARDED))


def measured(golden: Golden, cells: list[str], known: Sequence[Metric]) -> Measured:
    """A golden's runs of cells that differ only in their seed."""
    items = golden.cell(cells[0], _all(golden, cells[0]))["item"].to_list()
    counted = _stacked(golden, cells, items, known)
    names = [score.name for score in counted.scores if score.kept >= SHORT]
    return Measured(cells, len(items), counted, ruler(counted, len(items), names))


def _all(golden: Golden, cell: str) -> list[str]:
    found: list[str] = golden.rows.filter(cell=cell)["item"].to_list()
    return found


def _stacked(
    golden: Golden, cells: Sequence[str], items: Sequence[str], known: Sequence[Metric]
) -> Counted:
    """What was counted of the items, seed by seed."""
    each = [golden.counted(golden.cell(cell, items), cell, known) for cell in cells]
    return each[0].with_values(np.concatenate([one.values for one in each]))


def _seeds(count: int) -> str:
    return plural(count, "seed")


def _points(measure: Ruler, units: float) -> str:
    """Units of the composite in points of every gated score, if all fall alike."""
    return ", ".join(f"{name} {units * one:.2f}" for name, one in measure.points.items())


def quality(
    group: str, base: Measured, before: Counted, after: Counted, same: bool, rule: Rule
) -> Finding:
    """The composite of one cell, all seeds, on the same items of both.

    `same` says that every run is what the golden's of its seed is.
    """
    images = len(before) // len(base.cells)
    seeds = len(after) // images
    found = lost(base.measure, before, after, images)
    allowed = base.margin(rule.share) if rule.share is not None else None
    margin = base.passable(base.images, seeds) if allowed is None else allowed
    verdict = Verdict.PASS if same else _judged(found, margin, images, rule)
    detail = (
        f"lost {_points(base.measure, found.units)} (if all fall alike); "
        f"{found.units:+.3f} ± {found.error:.3f} units, the golden's own error "
        f"{found.golden_error:.3f}, margin {margin:.3f}; {images} items × {seeds} seeds"
    )
    return Finding(group, "composite", verdict, detail)


def _judged(found: Lost, margin: float, images: int, rule: Rule) -> Verdict:
    if images < FEWEST:
        return Verdict.INCONCLUSIVE
    if found.units > rule.boundary * found.error + LUCK * found.golden_error:
        return Verdict.REGRESSED
    sure = _NORMAL.inv_cdf(1 - ALARM - GUARDED)
    kept = found.units + sure * float(np.hypot(found.error, found.golden_error)) <= margin
    return Verdict.PASS if kept else Verdict.INCONCLUSIVE


def certificate(
    golden: Golden, cells: Sequence[str], items: int, rule: Rule, known: Sequence[Metric]
) -> list[str]:
    """What a gate of these cells can find and pass, from its golden alone: lines for each group."""
    lines = []
    for group, seeds in groups(cells).items():
        base = measured(golden, groups(list(golden.signatures))[group], known)
        allowed = base.passable(items, len(seeds))
        margin = allowed if rule.share is None else base.margin(rule.share)
        found = _points(base.measure, base.findable(items, len(seeds), rule))
        few = "" if items >= FEWEST else f"; below {FEWEST} items only the same outputs pass"
        reached = f"in {POWER:.0%}" if margin >= allowed else f"in {POWER:.0%} only with more runs"
        lines += [
            f"{group}: {items} items × {_seeds(len(seeds))}, against a golden of "
            f"{_seeds(len(base.cells))}; false alarms at most {ALARM + GUARDED:.0%}{few}",
            f"  REGRESSED with {POWER:.0%}: a loss of {found}, if all fall alike",
            f"  PASS: a loss of no more than {_points(base.measure, margin)}, if all fall alike; "
            f"an equal version passes {reached}",
        ]
    return lines


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
        ("no end of speech", ~pl.col("ended"), UNENDED_MORE, rule.guard),
    )
    found = [
        _rate(cell, what, of(before, hit), of(after, hit), more, alarm)
        for what, hit, more, alarm in rates
    ]
    return [*found, _duration(cell, before, after, rule.guard)]


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
    detail = f"{how}, {before:.1%} of items as in the golden"
    # Another machine rounds otherwise; here the code has changed what the weights generate.
    if not changed and before < 1 and golden.machine == head.machine:
        detail += "; if that is meant, accept a new golden"
        return [Finding(cell, "fresh output", Verdict.INCONCLUSIVE, detail)]
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
    whole = not any(found.what == "coverage" and found.verdict for found in findings)
    known_groups = groups(list(golden.signatures))
    for group, cells in groups(list(head.signatures)).items() if whole else ():
        base = measured(golden, known_groups[group], known)
        was, own, now = (
            _stacked(runs, names, items, known)
            for runs, names in ((golden, base.cells), (golden, cells), (head, cells))
        )
        same = np.array_equal(own.values, now.values)
        findings.append(quality(group, base, was, now, same, rule))
    return findings


def overall(findings: Sequence[Finding]) -> Verdict:
    """The worst of all."""
    return max((found.verdict for found in findings), default=Verdict.INCONCLUSIVE)
