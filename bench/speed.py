"""Did it get slower? Two checkouts on one machine, in fresh processes that take turns.

A fixed piece of work beside every pair (the canary) shows when the machine itself was uneven; then
nothing is said about time. What can be counted is counted and compared exactly.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

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
ROUNDS = 8
"""Pairs of fresh processes."""
TURNS = 6
"""How often the processes of a round measure, one after the other."""
IMAGES = 24
_CELL = "speed"


@dataclass(frozen=True)
class Way:
    """What to measure: the code in a folder, `delay` a share by which its decoding is slowed."""

    folder: Path
    weights: str
    images: int = IMAGES
    delay: float = 0.0


@dataclass(frozen=True)
class Replicate:
    """What one process measured: seconds by stage and turn, MB at its peak, counts; the weights."""

    weights: str
    seconds: dict[str, list[float]]
    peak_mb: float
    counters: dict[str, int]


class WayError(RuntimeError):
    """A way that cannot be measured; `way` says which."""

    def __init__(self, way: Way, reason: str) -> None:
        super().__init__(f"speed cannot be measured: {reason}")
        self.way = way


def canary() -> float:
    """Seconds of a fixed piece of work on one core: the best of three sorts."""
    work = np.random.default_rng(0).standard_normal(1_000_000)
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        np.sort(work)
        best = min(best, time.perf_counter() - started)
    return best


class _Process:
    """A replicate that runs; raises WayError where it ends before its time."""

    def __init__(self, way: Way, errors: IO[str]) -> None:
        from bench.perf import replicate

        self.way = way
        # The same measure for all, over the pixvox of the folder.
        options = (way.weights, str(way.images), str(way.delay))
        self.errors = errors
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(replicate.__file__), *options],
            cwd=way.folder,
            env=os.environ | {"PYTHONPATH": str(way.folder.resolve())},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def answer(self) -> dict[str, Any]:
        """The next line that it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            raise WayError(self.way, " ".join(self.errors.read().strip().splitlines()[-1:]))
        found: dict[str, Any] = json.loads(line)
        return found

    def ready(self) -> None:
        """Waits until it is warm."""
        if not Path(self.answer()["code"]).is_relative_to(self.way.folder.resolve()):
            raise WayError(self.way, f"{self.way.folder} has no pixvox of its own")

    def turn(self) -> dict[str, float]:
        """Has it measure once."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.answer()

    def finish(self, turns: Sequence[dict[str, float]]) -> Replicate:
        """What it is and counted, with what it measured."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        seconds = {stage: [turn[stage] for turn in turns] for stage in turns[0]}
        return Replicate(seconds=seconds, **self.answer())

    def close(self) -> None:
        """Ends it."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def one_round(ways: Sequence[Way], turns: int = TURNS) -> list[Replicate]:
    """A fresh process for every way, which measure in turn, forwards and backwards.

    What slows the machine for longer than a turn slows all of them. Raises WayError.
    """
    with ExitStack() as stack:
        processes: list[_Process] = []
        for way in ways:
            errors = stack.enter_context(tempfile.TemporaryFile("w+"))
            processes.append(_Process(way, errors))
            stack.callback(processes[-1].close)
        for process in processes:
            process.ready()
        found: list[list[dict[str, float]]] = [[] for _ in ways]
        for number in range(turns):
            for which in order(len(ways), number):
                found[which].append(processes[which].turn())
        return [p.finish(some) for p, some in zip(processes, found, strict=True)]


def order(ways: int, turn: int) -> list[int]:
    """In which order they measure: forwards and backwards, so that a drift meets all alike."""
    forwards = list(range(ways))
    return forwards if turn % 2 == 0 else forwards[::-1]


def measured(ways: Sequence[Way], rounds: int) -> tuple[list[list[Replicate]], list[float]]:
    """Rounds of replicates of every way; and the canaries, one before and one after every round."""
    found: list[list[Replicate]] = [[] for _ in ways]
    canaries = [canary()]
    with progress() as report:
        for number in range(rounds):
            for some, replicate in zip(found, one_round(ways), strict=True):
                some.append(replicate)
            canaries.append(canary())
            report("speed", number + 1, rounds)
    return found, canaries


def ratio(
    before: Sequence[Replicate], after: Sequence[Replicate], stage: str, alarm: float
) -> tuple[float, float, float]:
    """Head's seconds over base's: of a round the median of its turns, over rounds the mean.

    With Student's bounds of the logarithms: the lower one for an alarm, at that level; the upper
    one for a pass, at ALARM.
    """
    pairs = [(b.seconds[stage], a.seconds[stage]) for b, a in zip(before, after, strict=True)]
    logs = np.array([np.median(np.log(np.array(now) / np.array(was))) for was, now in pairs])
    middle, freedom = float(logs.mean()), len(logs) - 1
    error = float(logs.std(ddof=1)) / np.sqrt(len(logs))
    low = middle - student(1 - alarm, freedom) * error
    high = middle + student(1 - ALARM, freedom) * error
    return float(np.exp(middle)), float(np.exp(low)), float(np.exp(high))


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
        found, low, high = ratio(before, after, stage, ALARM / len(stages))
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


def against(revision: str, weights: str) -> list[Finding]:
    """This checkout's speed against a git revision's; raises RuntimeError if this cannot run."""
    head = Way(Path(_git("rev-parse", "--show-toplevel")), weights)
    with checkout(revision) as folder:
        base = Way(folder, weights)
        try:
            # Once before it counts: that fills caches of compiled kernels.
            one_round((base, head), 1)
            (before, after), canaries = measured((base, head), ROUNDS)
        except WayError as error:
            if error.way == head:
                raise
            return [Finding(_CELL, "base", Verdict.INCONCLUSIVE, f"{revision}: {error}")]
    return judge_speed(before, after, canaries)
