"""Measures the cost of the scheduler, the ledger and Ray with stages that only sleep.

The same two stages in three ways: by `pixvox run`'s own scheduler with its ledger on the disk, by
Ray Data without one, and the slower stage alone in a plain loop, which is the floor. Each runs in a
process of its own. A stage sleeps for every item that it is given, so that more replicas than cores
can be measured.
"""

import itertools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.commands.options import Parser, path, whole
from bench.common.errors import RunFailed
from bench.common.machine import save as save_figures
from bench.execution.batches import ROUNDS
from bench.execution.pipeline import CLIPS
from tests.evidence.program import output_of, program
from tests.evidence.stub import StubGenerator, StubTranscriber, stub_dataset, stub_run

SLOTS = 32
GENERATING = 0.008
TRANSCRIBING = 0.02
"""Seconds an item of one replica: a generator keeps up with two transcribers and a half."""
_STEADY = (0.2, 0.9)
"""The share of all items after which a way is at its pace, and at which it begins to run dry."""


@dataclass(frozen=True)
class Figure:
    """One way: its steady rate in items a second, and the seconds until its first row."""

    way: str
    generators: int
    transcribers: int
    items: int
    rate: float
    first: float


class Generator(StubGenerator):
    """A stub that sleeps for every item."""

    def work(self, asked: Any) -> Any:
        time.sleep(GENERATING * len(asked))
        return super().work(asked)


class Transcriber(StubTranscriber):
    """A stub that sleeps for every clip."""

    def work(self, work: tuple[object, str, Sequence[Any]]) -> Any:
        time.sleep(TRANSCRIBING * len(work[2]))
        return super().work(work)


def _by_suite(generators: int, transcribers: int, items: int, tick: Callable[[int], None]) -> None:
    from bench.execution.executor import Actors, execute

    with tempfile.TemporaryDirectory(prefix="pixvox-pipeline-") as name:
        cluster: dict[str, object] = {"generators": generators, "transcribers": transcribers}
        dataset = stub_dataset(items, 0)
        run = stub_run(Path(name), dataset, prompts=(0.0,), slots=SLOTS, cluster=cluster)

        def report(what: str, done: int, total: int) -> None:
            if what == "transcribing":
                tick(done)

        execute(run, report, Actors(Generator, Transcriber, load_weights=False))


@contextmanager
def _ray() -> Iterator[None]:
    import logging

    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        address="local",
        num_cpus=16,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        yield
    finally:
        ray.shutdown()


def _by_ray_data(
    generators: int, transcribers: int, items: int, tick: Callable[[int], None]
) -> None:
    import ray.data

    class Generate:
        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            time.sleep(GENERATING * len(batch["item"]))
            return batch

    class Transcribe:
        def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
            time.sleep(TRANSCRIBING * len(batch["item"]))
            return batch

    with _ray():
        size = SLOTS * ROUNDS
        rows = ray.data.from_items(
            [{"item": number} for number in range(items)], override_num_blocks=-(-items // size)
        )
        generated = rows.map_batches(Generate, batch_size=size, concurrency=generators)
        transcribed = generated.map_batches(Transcribe, batch_size=CLIPS, concurrency=transcribers)
        done = 0
        for batch in transcribed.iter_batches(batch_size=None, prefetch_batches=0):
            done += len(batch["item"])
            tick(done)
        if done != items:
            raise RunFailed(f"Ray Data gave {done} of {items} rows")


def _by_loop(generators: int, transcribers: int, items: int, tick: Callable[[int], None]) -> None:
    done = 0
    while done < items:
        # As many replicas as there are take as many clips at the same time.
        time.sleep(TRANSCRIBING * CLIPS)
        done = min(items, done + CLIPS * transcribers)
        tick(done)


WAYS = {"pixvox": _by_suite, "Ray Data": _by_ray_data, "loop": _by_loop}


def measure_way(way: str, generators: int, transcribers: int, items: int) -> Figure:
    """Runs one way in this process."""
    started = time.monotonic()
    marks: list[tuple[float, int]] = []

    def tick(done: int) -> None:
        if done and (not marks or done > marks[-1][1]):
            marks.append((time.monotonic() - started, done))

    WAYS[way](generators, transcribers, items, tick)
    seconds, done = np.array(marks, dtype=float).T
    low, high = np.interp([share * items for share in _STEADY], done, seconds)
    rate = (_STEADY[1] - _STEADY[0]) * items / (high - low)
    return Figure(way, generators, transcribers, items, float(rate), float(seconds[0]))


def _measured(way: str, generators: int, transcribers: int, items: int) -> Figure:
    numbers = map(str, (items, generators, transcribers))
    words = itertools.chain(
        *zip(("--items", "--generators", "--transcribers"), numbers, strict=True)
    )
    return Figure(**json.loads(output_of("pipeline", "--way", way, *words)))


def run(items: int, save: Path | None) -> int:
    """Measures all ways with 1 generator and 2 transcribers, and the suite's with 1, 2, 4 each."""
    figures = {way: _measured(way, 1, 2, items) for way in WAYS}
    floor, ours, data = figures["loop"], figures["pixvox"], figures["Ray Data"]
    for figure in figures.values():
        print(
            f"{figure.way:8}: {figure.rate:6.1f} items/s, {figure.rate / floor.rate:.1%} of the "
            f"slower stage alone; the first row after {figure.first:.1f} s",
            flush=True,
        )
    more = [_measured("pixvox", n, n, items * n // 2) for n in (1, 2, 4)]
    scaling = [figure.rate / more[0].rate for figure in more]
    for figure, times in zip(more, scaling, strict=True):
        print(f"{figure.generators} of each: {figure.rate:6.1f} items/s, {times:.2f} times one")
    ratios = {
        "efficiency": ours.rate / floor.rate,
        "of Ray Data": ours.rate / data.rate,
        "first row sooner": data.first / ours.first,
        "two replicas": scaling[1],
        "four replicas": scaling[2],
    }
    print("; ".join(f"{name} {value:.2f}" for name, value in ratios.items()))
    ways = [asdict(figure) for figure in [*figures.values(), *more]]
    save_figures({"ratios": ratios, "ways": ways}, save)
    return 0


def main(words: Sequence[str]) -> int:
    """Measures what the command line asks for; returns the exit code."""
    parser = Parser(
        prog="python -m tests.evidence.pipeline",
        description="The scheduler beside Ray Data and a loop.",
    )
    parser.add_argument("--items", type=whole(1, 10_000_000), default=4000)
    parser.add_argument("--way", choices=WAYS, help="this one, in this process, printed as JSON")
    parser.add_argument("--generators", type=whole(1, 1000), default=1)
    parser.add_argument("--transcribers", type=whole(1, 1000), default=2)
    parser.add_argument("--save", type=path, help="write the figures as JSON")
    given = parser.parse_args(words)
    if given.way is not None:
        figure = measure_way(given.way, given.generators, given.transcribers, given.items)
        print(json.dumps(asdict(figure)))
        return 0
    return run(given.items, given.save)


if __name__ == "__main__":
    program(main)
