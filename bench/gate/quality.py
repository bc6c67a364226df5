"""Judges whether quality got worse: every cell of a run against the golden, with three verdicts.

One predefined score decides: the composite of the gated scores over all seeds of a cell. A certain
loss is REGRESSED; PASS means that no loss is larger than the margin; otherwise the verdict is
INCONCLUSIVE. Guards check failures that a mean score hides, and nothing passes if a single score is
significantly worse.
"""

from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np

from bench.common.resampling import Resampling
from bench.common.text import plural
from bench.gate.composite import Lost, lost
from bench.gate.golden import Golden
from bench.gate.guards import fresh, guards
from bench.gate.power import FEWEST, LUCK, Measured, in_points, measured, stacked
from bench.gate.protocol import groups
from bench.gate.verdicts import ALARM, GUARDED, SCORES, Change, Finding, Rule, Verdict
from bench.metrics.base import CorpusMetric
from bench.metrics.counted import Counted
from bench.scoring.families import adjusted
from bench.scoring.inference import permuted_differences
from bench.tables.testing import SIGNIFICANT

_NORMAL = NormalDist()


def quality(
    group: str, base: Measured, before: Counted, after: Counted, *, same: bool, rule: Rule
) -> Finding:
    """Returns a finding on the composite of one cell, all seeds, on the same items of both.

    With `same`, every run equals the golden's run of its seed.
    """
    images = len(before) // len(base.cells)
    seeds = len(after) // images
    loss = lost(base.measure, before, after, images)
    margin = _margin(base, seeds, rule)
    verdict = Verdict.PASS if same else judged(loss, margin, images, rule)
    detail = (
        f"lost {in_points(base.measure, loss.units)} (if all fall alike); "
        f"{loss.units:+.3f} ± {loss.error:.3f} units, the golden's own error "
        f"{loss.golden_error:.3f}, margin {margin:.3f}; {plural(images, 'item')} × "
        f"{plural(seeds, 'seed')}"
    )
    return Finding(cell=group, what="composite", verdict=verdict, detail=detail)


def _margin(base: Measured, seeds: int, rule: Rule) -> float:
    return base.passable(base.images, seeds) if rule.share is None else base.margin(rule.share)


def _per_image(counted: Counted, images: int) -> Counted:
    """Returns means over seeds of statistics given seed by seed, one row for each image."""
    values = counted.values.reshape(-1, images, counted.values.shape[1]).mean(0)
    return counted.with_values(values)


def scores_kept(
    runs: Mapping[str, tuple[Counted, Counted]],
    margins: Mapping[str, Mapping[str, float]],
    resampling: Resampling,
) -> list[Finding]:
    """Returns every score of each cell before and now; INCONCLUSIVE if one is significantly worse.

    `runs` have the golden's and the run's statistics, one row for each image; `margins` the loss in
    points that a cell's composite allows if all its scores fall alike. Paired permutation tests are
    adjusted together for all cells and scores.
    """
    tested = {
        (group, name): compared
        for group, (before, after) in runs.items()
        for name, compared in permuted_differences(before, after, resampling).items()
    }
    p = adjusted(tested)
    findings = []
    for group, (before, after) in runs.items():
        was, now = before.corpus(), after.corpus()
        errors = {score.name for score in before.scores if score.lower_is_better}
        ranked = {score.name for score in before.scores if score.ranked}
        changes = []
        for name in was:
            loss = now[name] - was[name] if name in errors else was[name] - now[name]
            worse = name in ranked and bool(loss > 0) and p[group, name] < SIGNIFICANT
            change = Change(
                score=name,
                before=float(was[name]),
                now=float(now[name]),
                margin=margins[group].get(name),
                p=p[group, name] if worse else None,
            )
            changes.append(change)
        fallen = [change.score for change in changes if change.p is not None]
        verdict = Verdict.INCONCLUSIVE if fallen else Verdict.PASS
        detail = f"significantly worse: {', '.join(fallen)}" if fallen else ""
        findings.append(
            Finding(cell=group, what=SCORES, verdict=verdict, detail=detail, changes=tuple(changes))
        )
    return findings


def judged(loss: Lost, margin: float, images: int, rule: Rule) -> Verdict:
    """Returns the verdict on a loss, by the analysis's boundary and the margin."""
    if images < FEWEST:
        return Verdict.INCONCLUSIVE
    if loss.units > rule.boundary * loss.error + LUCK * loss.golden_error:
        return Verdict.REGRESSED
    sure = _NORMAL.inv_cdf(1 - ALARM - GUARDED)
    is_within = loss.units + sure * float(np.hypot(loss.error, loss.golden_error)) <= margin
    return Verdict.PASS if is_within else Verdict.INCONCLUSIVE


def judge(
    golden: Golden,
    head: Golden,
    items: Sequence[str],
    *,
    rule: Rule,
    known: Sequence[CorpusMetric],
    resampling: Resampling,
) -> list[Finding]:
    """Judges every cell of a run of some items against the golden.

    `known` are the job's metrics, and `resampling` the settings of its permutation tests.
    """
    findings: list[Finding] = []
    for cell in head.signatures:
        before, after = golden.cell(cell, items), head.cell(cell, items)
        lacking = len(items) - min(before.height, after.height)
        detail = f"{after.height} of {len(items)} items, the golden has {before.height}"
        verdict = Verdict.REGRESSED if lacking else Verdict.PASS
        findings.append(Finding(cell=cell, what="coverage", verdict=verdict, detail=detail))
        if lacking:
            continue
        findings += guards(cell, before, after, rule)
        findings += fresh(golden, head, cell, items)
    whole = not any(finding.what == "coverage" and finding.verdict for finding in findings)
    known_groups = groups(list(golden.signatures))
    runs: dict[str, tuple[Counted, Counted]] = {}
    margins: dict[str, Mapping[str, float]] = {}
    for group, cells in groups(list(head.signatures)).items() if whole else ():
        base = measured(golden, known_groups[group], known)
        was, own, now = (
            stacked(runs, names, items, known)
            for runs, names in ((golden, base.cells), (golden, cells), (head, cells))
        )
        same = np.array_equal(own.values, now.values)
        findings.append(quality(group, base, was, now, same=same, rule=rule))
        images = len(items)
        runs[group] = _per_image(own, images), _per_image(now, images)
        margin = _margin(base, len(now) // images, rule)
        margins[group] = {name: margin * points for name, points in base.measure.points.items()}
    return findings + scores_kept(runs, margins, resampling)
