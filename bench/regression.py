"""Did it get worse? Three-way verdicts on quality against a golden, and hard guards.

An interval of the paired difference is held against a margin: inside it is a pass, a loss that is
both sure and larger is a regression, all else wants more items.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import polars as pl

from bench.golden import Golden, matrix
from bench.metrics.types import Array
from bench.statistics import Difference, compare

METRICS = ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
"""Scores that are gated; the others go with them."""
MARGIN_POINTS, MARGIN_SHARE = 0.5, 0.02
"""A loss below half a point or 2% of the golden's score, whichever is more, is none."""
ALARM = 0.05
"""The rate of false alarms over all that is compared in one gate."""
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


_SAME = ("data", "references", "normaliser", "tokeniser", "metrics", "idf", "asr", "hear")


def incomparable(golden: Golden, head: Golden, any_machine: bool) -> str:
    """Why a golden cannot judge a run, "" where it can."""
    missing = golden.signatures.keys() ^ head.signatures.keys()
    if missing:
        return f"other cells: {', '.join(sorted(missing))}"
    if not any_machine and golden.machine != head.machine:
        return f"another machine: {head.machine}, the golden's is {golden.machine}"
    for name, one in head.signatures.items():
        for field in _SAME:
            ours, theirs = getattr(one, field), getattr(golden.signatures[name], field)
            if ours != theirs:
                return f"{name}: {field} is {ours}, the golden's {theirs}"
    return ""


def margin(score: float) -> float:
    """The loss, in points, up to which a score counts as kept."""
    return max(MARGIN_POINTS, MARGIN_SHARE * score)


def judged(found: Difference, base: float) -> Verdict:
    """A difference against its margin."""
    if found.high < 0 and found.difference < -margin(base):
        return Verdict.REGRESSED
    return Verdict.PASS if found.low > -margin(base) else Verdict.INCONCLUSIVE


def quality(
    cell: str, before: Array, after: Array, tests: int, replicates: int = 2000
) -> list[Finding]:
    """The gated scores of one cell on the same items; `tests` share the rate of false alarms."""
    from bench.metrics.corpus import scores

    # A loss is one-sided: half of what an interval leaves out lies on the other side.
    confidence = 1 - 2 * ALARM / max(tests, 1)
    base = scores(before.sum(0))
    findings = []
    for name, found in compare(before, after, replicates, confidence).items():
        if name in METRICS:
            detail = (
                f"{found.difference:+.2f} from {float(base[name]):.2f} "
                f"[{found.low:+.2f}, {found.high:+.2f}], margin {margin(float(base[name])):.2f}"
            )
            findings.append(Finding(cell, name, judged(found, float(base[name])), detail))
    return findings


def _rate(cell: str, what: str, before: float, after: float, more: float) -> Finding:
    verdict = Verdict.REGRESSED if after > before + more else Verdict.PASS
    return Finding(cell, what, verdict, f"{after:.1%}, was {before:.1%}, may rise by {more:.0%}")


def guards(cell: str, before: pl.DataFrame, after: pl.DataFrame) -> list[Finding]:
    """Rates and durations that no mean of scores may hide, on the same items."""

    def share(rows: pl.DataFrame, hit: pl.Expr) -> float:
        return float(rows.select(hit.fill_null(False).mean()).item() or 0.0)

    def seconds(rows: pl.DataFrame) -> float:
        return float(rows.filter(status="ok").select(pl.col("seconds").mean()).item() or 0.0)

    rates = (
        ("failed", pl.col("status") != "ok", FAILED_MORE),
        ("silent", pl.col("silent"), SILENT_MORE),
        ("no end of speech", ~pl.col("ended"), UNENDED_MORE),
    )
    found = [
        _rate(cell, what, share(before, hit), share(after, hit), more) for what, hit, more in rates
    ]
    was, now = seconds(before), seconds(after)
    off = abs(now - was) > SECONDS_OFF * was
    detail = f"{now:.2f} s, was {was:.2f} s, may move by {SECONDS_OFF:.0%}"
    found.append(Finding(cell, "mean duration", Verdict.REGRESSED if off else Verdict.PASS, detail))
    return found


def stale(golden: Golden, head: Golden, cell: str, same: float) -> Finding:
    """Other weights that say exactly what the old ones said were not run at all."""
    changed = golden.signatures[cell].weights != head.signatures[cell].weights
    verdict = Verdict.REGRESSED if changed and same == 1 else Verdict.PASS
    how = "other weights" if changed else "the same weights"
    return Finding(cell, "fresh output", verdict, f"{how}, {same:.0%} of items with equal units")


def judge(golden: Golden, head: Golden, items: Sequence[str], looks: int = 1) -> list[Finding]:
    """Every cell of a run of some items against the golden; `looks` share the false alarms."""
    findings: list[Finding] = []
    tests = len(METRICS) * len(head.signatures) * looks
    for cell in head.signatures:
        before, after = golden.cell(cell, items), head.cell(cell, items)
        lacking = len(items) - min(before.height, after.height)
        detail = f"{after.height} of {len(items)} items, the golden has {before.height}"
        verdict = Verdict.REGRESSED if lacking else Verdict.PASS
        findings.append(Finding(cell, "coverage", verdict, detail))
        if lacking:
            continue
        findings += guards(cell, before, after)
        units = before["units"].fill_null(b"") == after["units"].fill_null(b"")
        if golden.signatures[cell].weights:
            findings.append(stale(golden, head, cell, float(units.mean() or 0.0)))  # type: ignore[arg-type]
        findings += quality(cell, matrix(before), matrix(after), tests)
    return findings


def exact(golden: Golden, head: Golden, items: Sequence[str]) -> list[Finding]:
    """Bit for bit: which items' units or transcripts changed, and where units first differ."""
    findings = []
    for cell in head.signatures:
        before, after = golden.cell(cell, items), head.cell(cell, items)
        if before["item"].to_list() != after["item"].to_list():
            detail = f"{after.height} items, the golden has {before.height} of them"
            findings.append(Finding(cell, "coverage", Verdict.REGRESSED, detail))
            continue
        pairs = zip(before.iter_rows(named=True), after.iter_rows(named=True), strict=True)
        changed = [text for a, b in pairs if (text := _changed(a, b))]
        verdict = Verdict.REGRESSED if changed else Verdict.PASS
        detail = f"{len(changed)} of {len(items)} items changed"
        findings.append(Finding(cell, "bit for bit", verdict, "; ".join([detail, *changed[:3]])))
    return findings


def _changed(before: dict[str, object], after: dict[str, object]) -> str:
    """How an item changed, "" where it did not."""
    item = after["item"]
    if before["units"] != after["units"]:
        one, other = (_units(row) for row in (before, after))
        frames = min(one.shape[1], other.shape[1])
        if one.shape[0] != other.shape[0]:
            return f"{item}: {other.shape[0]} codebooks, were {one.shape[0]}"
        differ = np.flatnonzero((one[:, :frames] != other[:, :frames]).any(0))
        first = int(differ[0]) if differ.size else frames
        return f"{item}: first differing frame {first}"
    if before["transcript"] != after["transcript"] or before["status"] != after["status"]:
        return f"{item}: the same units, heard otherwise"
    return ""


def _units(row: dict[str, object]) -> "np.ndarray[tuple[int, ...], np.dtype[np.int16]]":
    data, codebooks = row["units"] or b"", row["codebooks"] or 1
    assert isinstance(data, bytes)
    assert isinstance(codebooks, int)
    return np.frombuffer(data, dtype=np.int16).reshape(max(codebooks, 1), -1)


def overall(findings: Sequence[Finding]) -> Verdict:
    """The worst of all."""
    return max((found.verdict for found in findings), default=Verdict.INCONCLUSIVE)
