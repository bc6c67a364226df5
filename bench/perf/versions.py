"""Compares the speed of two checkouts on one machine, in new processes that take turns.

A fixed piece of work beside every pair (the canary) shows whether the machine was uneven; then no
verdict on time is given. Counts are compared exactly.
"""

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bench.common.errors import UserError
from bench.gate.verdicts import ALARM, Finding, Verdict
from bench.perf.turns import Replicate, Way, WayError, measured, one_round
from bench.scoring.inference import student_quantile

SLOWER = 1.05
"""The largest allowed ratio of times; the ratio's interval is compared with it."""
UNEVEN = 1.15
"""The canary's slowest run over its fastest, above which the machine is too noisy to judge."""
MEMORY = 1.02
ROUNDS = 8
"""Pairs of new processes."""
_CELL = "speed"


def ratio(
    before: Sequence[Replicate], after: Sequence[Replicate], stage: str, alarm: float
) -> tuple[float, float, float]:
    """Returns head's seconds over base's: in a round the median of turns, over rounds the mean.

    The bounds are Student's, of logarithms: the lower one for an alarm, at that level; the upper
    one for a pass, at ALARM.
    """
    pairs = [(b.seconds[stage], a.seconds[stage]) for b, a in zip(before, after, strict=True)]
    logs = np.array([np.median(np.log(np.array(now) / np.array(was))) for was, now in pairs])
    middle, freedom = float(logs.mean()), len(logs) - 1
    error = float(logs.std(ddof=1)) / np.sqrt(len(logs))
    low = middle - student_quantile(1 - alarm, freedom) * error
    high = middle + student_quantile(1 - ALARM, freedom) * error
    return float(np.exp(middle)), float(np.exp(low)), float(np.exp(high))


def _counted(before: Replicate, after: Replicate) -> Iterator[Finding]:
    same = before.weights == after.weights
    for name, now in after.counters.items():
        was = before.counters[name]
        detail = f"{now}, was {was}" + ("" if same else " with other weights: not judged")
        yield Finding(
            cell=_CELL,
            what=name,
            verdict=Verdict.REGRESSED if same and now > was else Verdict.PASS,
            detail=detail,
        )


def judge_speed(
    before: Sequence[Replicate], after: Sequence[Replicate], canaries: Sequence[float]
) -> list[Finding]:
    """Judges counts exactly (of the same weights), memory within 2%, and time by its ratio."""
    findings = list(_counted(before[0], after[0]))
    was, now = (float(np.median([r.peak_mb for r in runs])) for runs in (before, after))
    verdict = Verdict.REGRESSED if now > MEMORY * was else Verdict.PASS
    findings.append(
        Finding(
            cell=_CELL,
            what="peak memory",
            verdict=verdict,
            detail=f"{now:.0f} MB, was {was:.0f} MB",
        )
    )
    uneven = max(canaries) / min(canaries)
    stages = list(before[0].seconds)
    for stage in stages:
        slower, low, high = ratio(before, after, stage, ALARM / len(stages))
        detail = f"{slower:.3f}x [{low:.3f}, {high:.3f}], may be {SLOWER:g}x; canary {uneven:.2f}x"
        if uneven > UNEVEN:
            verdict = Verdict.INCONCLUSIVE
        elif low > 1 and slower > SLOWER:
            verdict = Verdict.REGRESSED
        else:
            verdict = Verdict.PASS if high < SLOWER else Verdict.INCONCLUSIVE
        findings.append(
            Finding(cell=_CELL, what=f"time of {stage}", verdict=verdict, detail=detail)
        )
    return findings


def _git(*arguments: str) -> str:
    """Returns git's output; raises UserError if it fails."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise UserError("--base: git is not installed") from error
    if done.returncode != 0:
        raise UserError(f"--base: {' '.join(done.stderr.split())}")
    return done.stdout.strip()


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """Checks out a git revision into a temporary folder; raises UserError for an unknown one.

    The folder is a clone that shares the repository's objects. A worktree would be registered in
    the repository, and stay there if the gate is killed.
    """
    commit = _git("rev-list", "--max-count=1", "--end-of-options", revision, "--")
    repository = _git("rev-parse", "--path-format=absolute", "--git-common-dir")
    with tempfile.TemporaryDirectory(prefix="pixvox-base-") as name:
        folder = str(Path(name) / "base")
        _git("clone", "--quiet", "--shared", "--no-checkout", repository, folder)
        _git("-C", folder, "checkout", "--quiet", "--detach", commit)
        yield Path(folder)


def compare_versions(revision: str, weights: str) -> list[Finding]:
    """Compares this checkout's speed with a git revision's; raises RunFailed if it cannot."""
    head = Way(Path(_git("rev-parse", "--show-toplevel")), weights)
    with checkout(revision) as folder:
        base = Way(folder, weights)
        try:
            # A first run, which is not counted, fills the caches of compiled kernels.
            one_round((base, head), 1)
            (before, after), canaries = measured((base, head), ROUNDS)
        except WayError as error:
            if error.way == head:
                raise
            return [
                Finding(
                    cell=_CELL,
                    what="base",
                    verdict=Verdict.INCONCLUSIVE,
                    detail=f"{revision}: {error}",
                )
            ]
    return judge_speed(before, after, canaries)
