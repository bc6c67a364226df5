"""Did it get slower? Two checkouts on one machine, in turn, in fresh processes.

A fixed piece of work beside every pair (the canary) shows when the machine itself was uneven; then
nothing is said about time. What can be counted is counted and compared exactly.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.errors import UserError
from bench.progress import progress
from bench.regression import ALARM, Finding, Verdict
from bench.statistics import student

SLOWER = 1.05
"""How much longer a version may take: the ratio's interval is held against it."""
UNEVEN = 1.15
"""The canary's slowest run over its fastest, above which the machine is too noisy to judge."""
MEMORY = 1.02
ROUNDS = 6
IMAGES = 24
_CELL = "speed"


@dataclass(frozen=True)
class Replicate:
    """What one process measured: seconds by stage, MB at the peak, counts; and of which weights."""

    weights: str
    seconds: dict[str, float]
    peak_mb: float
    counters: dict[str, int]


def canary() -> float:
    """Seconds of a fixed piece of work: the best of three products of matrices."""
    work = np.random.default_rng(0).standard_normal((700, 700))
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        for _ in range(4):
            work @ work
        best = min(best, time.perf_counter() - started)
    return best


def measured(folder: Path, weights: str, images: int = IMAGES, delay: float = 0.0) -> Replicate:
    """One replicate of a folder's code; `delay` is a share by which its decoding steps are slowed.

    Raises RuntimeError where it cannot run there.
    """
    from bench.perf import replicate

    # The same measure for both, over the pixvox of the checkout.
    command = [sys.executable, "-P", str(replicate.__file__), weights, str(images), str(delay)]
    environment = os.environ | {"PYTHONPATH": str(folder.resolve())}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        reason = " ".join(done.stderr.strip().splitlines()[-1:])
        raise RuntimeError(reason)
    facts = json.loads(done.stdout.splitlines()[-1])
    if not Path(facts.pop("code")).is_relative_to(folder.resolve()):
        raise RuntimeError("it has no pixvox of its own")
    return Replicate(**facts)


def interleaved(
    ways: Sequence[Callable[[], Replicate]], rounds: int
) -> tuple[list[list[Replicate]], list[float]]:
    """Replicates of every way, in turn forwards and backwards, so that a drift meets all alike.

    Beside them the canaries: one before, and one after every round.
    """
    found: list[list[Replicate]] = [[] for _ in ways]
    canaries = [canary()]
    with progress() as report:
        for number in range(rounds):
            order = range(len(ways)) if number % 2 == 0 else reversed(range(len(ways)))
            for which in order:
                found[which].append(ways[which]())
            canaries.append(canary())
            report("speed", number + 1, rounds)
    return found, canaries


def ratio(
    before: Sequence[float], after: Sequence[float], level: float = ALARM
) -> tuple[float, float, float]:
    """Head's seconds over base's, with Student's interval of the paired logarithms."""
    logs = np.log(np.asarray(after) / np.asarray(before))
    middle, freedom = float(logs.mean()), len(logs) - 1
    if freedom < 1:
        return float(np.exp(middle)), 0.0, float("inf")
    reach = student(1 - level / 2, freedom) * float(logs.std(ddof=1)) / np.sqrt(len(logs))
    return float(np.exp(middle)), float(np.exp(middle - reach)), float(np.exp(middle + reach))


def _counted(before: Replicate, after: Replicate) -> Iterator[Finding]:
    same = before.weights == after.weights
    for name, now in after.counters.items():
        was = before.counters[name]
        detail = f"{now}, was {was}" + ("" if same else " with other weights: not held against it")
        yield Finding(
            _CELL, name, Verdict.REGRESSED if same and now > was else Verdict.PASS, detail
        )


def judge_speed(
    before: Sequence[Replicate], after: Sequence[Replicate], canaries: Sequence[float]
) -> list[Finding]:
    """Counters exactly where the weights are the same, memory within 2%, time by its ratio."""
    findings = list(_counted(before[0], after[0]))
    was, now = (float(np.median([r.peak_mb for r in runs])) for runs in (before, after))
    verdict = Verdict.REGRESSED if now > MEMORY * was else Verdict.PASS
    findings.append(Finding(_CELL, "peak memory", verdict, f"{now:.0f} MB, was {was:.0f} MB"))
    uneven = max(canaries) / min(canaries)
    stages = list(before[0].seconds)
    for stage in stages:
        was_s, now_s = ([r.seconds[stage] for r in runs] for runs in (before, after))
        found, low, high = ratio(was_s, now_s, ALARM / len(stages))
        detail = f"{found:.3f}x [{low:.3f}, {high:.3f}], may be {SLOWER:g}x; canary {uneven:.2f}x"
        if uneven > UNEVEN:
            verdict = Verdict.INCONCLUSIVE
        elif low > 1 and found > SLOWER:
            verdict = Verdict.REGRESSED
        else:
            verdict = Verdict.PASS if high < SLOWER else Verdict.INCONCLUSIVE
        findings.append(Finding(_CELL, f"time of {stage}", verdict, detail))
    return findings


def _git(*arguments: str) -> str:
    """What git says; raises UserError where it refuses."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise UserError("--base: git is not installed") from error
    if done.returncode != 0:
        raise UserError(f"--base: {' '.join(done.stderr.split())}")
    return done.stdout.strip()


@contextmanager
def checkout(revision: str) -> Iterator[Path]:
    """A git revision of this repository in a folder of its own; raises UserError if unknown."""
    with tempfile.TemporaryDirectory(prefix="pixvox-base-") as name:
        folder = Path(name) / "base"
        _git("worktree", "add", "--detach", "--quiet", str(folder), revision)
        try:
            yield folder
        finally:
            _git("worktree", "remove", "--force", str(folder))


class _NoBaseError(Exception):
    """The base cannot be measured."""


def against(revision: str, weights: str) -> list[Finding]:
    """This checkout's speed against a git revision's; raises RuntimeError if this cannot run."""
    here = Path(_git("rev-parse", "--show-toplevel"))
    with checkout(revision) as folder:

        def base() -> Replicate:
            try:
                return measured(folder, weights)
            except RuntimeError as error:
                raise _NoBaseError(f"{revision} cannot be measured: {error}") from error

        def head() -> Replicate:
            return measured(here, weights)

        try:
            # Once before it counts: that fills caches of compiled kernels.
            base(), head()
            (before, after), canaries = interleaved((base, head), ROUNDS)
        except _NoBaseError as error:
            return [Finding(_CELL, "base", Verdict.INCONCLUSIVE, str(error))]
    return judge_speed(before, after, canaries)
