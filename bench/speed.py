"""Did it get slower? Two checkouts on one machine, in turn, in fresh processes.

A fixed piece of work beside every pair (the canary) shows when the machine itself was uneven; then
nothing is said about speed. What can be counted is counted and compared exactly.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np

from bench.regression import ALARM, Finding, Verdict

SLOWER = 1.05
"""How much longer a version may take: the ratio's interval is held against it."""
UNEVEN = 1.15
"""The canary's slowest run over its fastest, above which the machine is too noisy to judge."""
MEMORY = 1.02
COUNTERS = ("decoder steps", "encoder calls", "tokens")
_CELL = "speed"

Replicate = Mapping[str, float]


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


def measured(checkout: Path, weights: str, images: int) -> Replicate:
    """One replicate in a checkout; raises RuntimeError where it cannot run there."""
    command = [sys.executable, "-m", "bench.perf.replicate", weights, str(images)]
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve())}
    done = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        reason = " ".join(done.stderr.strip().splitlines()[-1:])
        raise RuntimeError(f"{checkout}: its speed could not be measured: {reason}")
    found: Replicate = json.loads(done.stdout.splitlines()[-1])
    return found


def interleaved(
    base: Callable[[], Replicate], head: Callable[[], Replicate], rounds: int
) -> tuple[list[Replicate], list[Replicate], list[float]]:
    """Replicates in the order base, head, head, base, …, so that a drift meets both alike."""
    before: list[Replicate] = []
    after: list[Replicate] = []
    canaries = [canary()]
    for number in range(rounds):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            (after if which else before).append((head if which else base)())
        canaries.append(canary())
    return before, after, canaries


def ratio(before: Sequence[Replicate], after: Sequence[Replicate]) -> tuple[float, float, float]:
    """Head's seconds over base's, with an interval from the paired logarithms."""
    logs = np.log([b["seconds"] / a["seconds"] for a, b in zip(before, after, strict=True)])
    spread = float(logs.std(ddof=1)) / np.sqrt(len(logs)) if len(logs) > 1 else float("inf")
    # Few replicates: the normal quantile is widened as Student's is (Hill 1970, first term).
    z = NormalDist().inv_cdf(1 - ALARM / 2)
    reach = (z + (z**3 + z) / (4 * max(len(logs) - 1, 1))) * spread
    middle = float(logs.mean())
    return float(np.exp(middle)), float(np.exp(middle - reach)), float(np.exp(middle + reach))


def judge_speed(
    before: Sequence[Replicate], after: Sequence[Replicate], canaries: Sequence[float]
) -> list[Finding]:
    """Counters exactly, memory within 2%, time by the ratio's interval."""
    findings = []
    for name in COUNTERS:
        was, now = before[0][name], after[0][name]
        verdict = Verdict.REGRESSED if now > was else Verdict.PASS
        findings.append(Finding(_CELL, name, verdict, f"{now:.0f}, was {was:.0f}"))
    was, now = (float(np.median([r["peak MB"] for r in runs])) for runs in (before, after))
    verdict = Verdict.REGRESSED if now > MEMORY * was else Verdict.PASS
    findings.append(Finding(_CELL, "peak memory", verdict, f"{now:.0f} MB, was {was:.0f} MB"))
    uneven = max(canaries) / min(canaries)
    found, low, high = ratio(before, after)
    detail = f"{found:.3f}x [{low:.3f}, {high:.3f}], may be {SLOWER:g}x; canary {uneven:.2f}x"
    if uneven > UNEVEN:
        verdict = Verdict.INCONCLUSIVE
    elif low > 1 and found > SLOWER:
        verdict = Verdict.REGRESSED
    else:
        verdict = Verdict.PASS if high < SLOWER else Verdict.INCONCLUSIVE
    findings.append(Finding(_CELL, "time", verdict, detail))
    return findings
