"""Measures in new processes that take turns, so that a disturbance affects all of them."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from bench.common.errors import RunFailed
from bench.common.progress import progress

TURNS = 6
"""How often the processes of a round measure, one after the other."""
IMAGES = 24


@dataclass(frozen=True)
class Way:
    """What to measure: the code in a folder, whose decoding is slowed by a share `delay`."""

    folder: Path
    weights: str
    images: int = IMAGES
    delay: float = 0.0


@dataclass(frozen=True)
class Replicate:
    """The result of one process: seconds by stage and turn, peak MB, counts, and a digest."""

    weights: str
    seconds: dict[str, list[float]]
    peak_mb: float
    counters: dict[str, int]


class WayError(RunFailed):
    """A measurement that failed; `way` says which."""

    def __init__(self, way: Way, reason: str) -> None:
        super().__init__(f"speed cannot be measured: {reason}")
        self.way = way


def canary() -> float:
    """Returns the seconds of a fixed piece of work on one core: the best of three sorts."""
    work = np.random.default_rng(0).standard_normal(1_000_000)
    best = float("inf")
    for _ in range(3):
        started = time.perf_counter()
        np.sort(work)
        best = min(best, time.perf_counter() - started)
    return best


class _Process:
    """A running replicate; raises WayError if it ends early."""

    def __init__(self, way: Way, errors: IO[str]) -> None:
        from bench.perf import replicate

        self.way = way
        # The same measuring code for all, with the pixvox of the folder.
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
        """Returns the next line of its output."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            raise WayError(self.way, " ".join(self.errors.read().strip().splitlines()[-1:]))
        facts: dict[str, Any] = json.loads(line)
        return facts

    def ready(self) -> None:
        """Waits until it is warmed up."""
        if not Path(self.answer()["code"]).is_relative_to(self.way.folder.resolve()):
            raise WayError(self.way, f"{self.way.folder} has no pixvox of its own")

    def turn(self) -> dict[str, float]:
        """Returns the seconds of one measurement."""
        assert self.process.stdin is not None
        # If it has died, the missing answer is reported.
        with suppress(BrokenPipeError):
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        return self.answer()

    def finish(self, turns: Sequence[dict[str, float]]) -> Replicate:
        """Returns its facts, counts and measurements."""
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
    """Returns the results of new processes, one for each way, that measure in turn, in both orders.

    A disturbance longer than a turn affects all of them. Raises WayError.
    """
    with ExitStack() as stack:
        processes: list[_Process] = []
        for way in ways:
            errors = stack.enter_context(tempfile.TemporaryFile("w+"))
            processes.append(_Process(way, errors))
            stack.callback(processes[-1].close)
        for process in processes:
            process.ready()
        seconds: list[list[dict[str, float]]] = [[] for _ in ways]
        for number in range(turns):
            for which in order(len(ways), number):
                seconds[which].append(processes[which].turn())
        return [p.finish(own) for p, own in zip(processes, seconds, strict=True)]


def order(ways: int, turn: int) -> list[int]:
    """Returns the order of measuring: forwards and backwards, so that a drift affects all alike."""
    forwards = list(range(ways))
    return forwards if turn % 2 == 0 else forwards[::-1]


def measured(ways: Sequence[Way], rounds: int) -> tuple[list[list[Replicate]], list[float]]:
    """Returns rounds of replicates of every way, and canaries before and after each round."""
    replicates: list[list[Replicate]] = [[] for _ in ways]
    canaries = [canary()]
    with progress() as report:
        for number in range(rounds):
            for own, replicate in zip(replicates, one_round(ways), strict=True):
                own.append(replicate)
            canaries.append(canary())
            report("speed", number + 1, rounds)
    return replicates, canaries
