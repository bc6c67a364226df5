"""Measures what an item costs the driver, with models that take no time.

The ledger, the scheduler and Ray are the real ones. Every size runs in a process of its own, so
that one's memory is not another's.
"""

import itertools
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.commands.options import Parser, path, whole
from bench.common.errors import RunFailed
from tests.evidence.program import output_of, program

SLOTS = 32
TRANSCRIBERS = 8
"""There is a generator for this many transcribers."""
_PAGE = resource.getpagesize()


@dataclass(frozen=True)
class Figure:
    """A run of stub items.

    `ms_per_item`, and `driver_ms`, what of it the driver computed, are of all but the first tenth,
    in which actors start. `first_mb` is the driver's memory once a tenth of the items is
    transcribed, `last_mb` with the last one, `peak_mb` the most that it ever had, once all rows had
    been read for scoring. `resume_seconds` is what a run needs before its first actor starts, to
    know all these rows as done.
    """

    items: int
    transcribers: int
    seconds: float
    ms_per_item: float
    driver_ms: float
    first_mb: float
    last_mb: float
    peak_mb: float
    parts: int
    resume_seconds: float


def _resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 1e6


def _computed() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure_size(items: int, transcribers: int) -> Figure:
    """Runs one size in this process."""
    from bench.execution.executor import execute
    from tests.evidence.stub import ACTORS, stub_dataset, stub_run

    begun = ended = (0, 0.0, 0.0)
    first = last = 0.0

    def report(what: str, done: int, total: int) -> None:
        nonlocal begun, ended, first, last
        if what != "transcribing":
            return
        now = (done, time.monotonic(), _computed())
        # Actors start one after the other: what counts begins where all are there.
        if begun == (0, 0.0, 0.0) or 10 * done < total:
            begun = now
        if not first and 10 * done >= total:
            first = _resident()
        if done == total and not last:
            ended, last = now, _resident()

    with tempfile.TemporaryDirectory(prefix="pixvox-scheduler-") as name:
        cluster: dict[str, object] = {
            "generators": max(1, transcribers // TRANSCRIBERS),
            "transcribers": transcribers,
        }
        dataset = stub_dataset(items, 0)
        run = stub_run(Path(name), dataset, prompts=(0.0,), slots=SLOTS, cluster=cluster)
        started = time.monotonic()
        # As a driver does it: who has the lock joins small parts.
        with run.ledger.lock():
            execute(run, report, ACTORS)
        seconds = time.monotonic() - started
        transcribed = run.transcripts(run.cells[0])
        if transcribed["status"].to_list() != ["ok"] * items:
            raise RunFailed(f"{items} items: some are missing")
        parts = sum(1 for _ in Path(name).rglob("part-*.parquet"))
        resumed = time.monotonic()
        again = stub_run(Path(name), dataset, prompts=(0.0,), slots=SLOTS, cluster=cluster)
        resume = time.monotonic() - resumed
        if again.missing:
            raise RunFailed(f"{items} items: {again.missing} are missing when it is resumed")
    count, wall, computed = (e - b for e, b in zip(ended, begun, strict=True))
    each = (1000 * wall / count, 1000 * computed / count)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return Figure(items, transcribers, seconds, *each, first, last, peak, parts, resume)


def run(sizes: list[int], transcribers: list[int], save: Path | None) -> int:
    """Measures every size with every number of transcribers, prints a line for each, and saves them
    if asked."""
    from bench.common.machine import save as save_figures

    figures: list[Figure] = []
    for items, many in itertools.product(sizes, transcribers):
        words = ("--one", "--items", str(items), "--transcribers", str(many))
        figure = Figure(**json.loads(output_of("scheduler", *words)))
        figures.append(figure)
        print(
            f"{figure.items:7} items, {many:3} transcribers: {figure.ms_per_item:.2f} ms an item, "
            f"{figure.driver_ms:.2f} of them the driver's computing, "
            f"{figure.first_mb:.0f} MB at a tenth, {figure.last_mb:.0f} MB at the end, "
            f"{figure.peak_mb:.0f} MB with all rows read, {figure.parts} parts, "
            f"{figure.resume_seconds:.1f} s to resume",
            flush=True,
        )
    ratio = figures[-1].last_mb / figures[0].last_mb
    print(f"memory at the end, the last over the first: {ratio:.2f}x")
    save_figures({"memory_ratio": ratio, "figures": [asdict(f) for f in figures]}, save)
    return 0


def main(words: Sequence[str]) -> int:
    """Measures what the command line asks for; returns the exit code."""
    parser = Parser(
        prog="python -m tests.evidence.scheduler",
        description="What an item costs beside the models.",
    )
    parser.add_argument("--items", type=whole(1, 10_000_000), nargs="+", default=[10_000, 100_000])
    parser.add_argument("--transcribers", type=whole(1, 10_000), nargs="+", default=[2])
    parser.add_argument("--one", action="store_true", help="in this process, printed as JSON")
    parser.add_argument("--save", type=path, help="write the figures as JSON")
    given = parser.parse_args(words)
    if given.one:
        print(json.dumps(asdict(measure_size(given.items[0], given.transcribers[0]))))
        return 0
    return run(given.items, given.transcribers, given.save)


if __name__ == "__main__":
    program(main)
