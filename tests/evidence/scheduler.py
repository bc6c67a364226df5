"""The cost of an item for the driver, with models that take no time.

The ledger, the scheduler and Ray are the real ones. Every size runs in a new process, so that
memory is measured separately.
"""

import itertools
import json
import os
import re
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from threading import Event, Thread
from typing import Any

from bench.commands.options import Parser, path, whole
from bench.common.errors import RunFailed
from bench.execution.batches import Batch
from bench.execution.session import OBJECT_STORE_BYTES
from tests.evidence.program import output_of, program

SLOTS = 32
TRANSCRIBERS = 8
"""There is a generator for this many transcribers."""
_PAGE = resource.getpagesize()


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A run of stub items.

    `ms_per_item`, and `driver_ms`, what of it the driver computed, are of all but the first tenth,
    in which actors start. `first_mb` is the driver's memory once a tenth of the items is
    transcribed, `last_mb` with the last one, `peak_mb` the most that it ever had, once all rows had
    been read for scoring. `resume_seconds` is what a run needs before its first actor starts, to
    know all these rows as done. `sent_bytes` is the driver's message for a row to each kind of
    actor together, `ledger_bytes` what a row takes on the disk, and `store_mb` the most that Ray's
    object store ever held.
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
    sent_bytes: float
    ledger_bytes: float
    store_mb: float


def _resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 1e6


def _computed() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


_SAMPLED = 20
"""Of so many messages to actors one is pickled once more, for its size."""
_SAMPLE_SECONDS = 0.3
_FREE = re.compile(r"num bytes available for pulled objects: (\d+)")


class _Messages:
    """Counts the bytes of messages to actors, by a sample of every pool's batches."""

    def __init__(self) -> None:
        self._pools: list[list[int]] = []

    def counting(self, message: Callable[[Batch[Any]], Any]) -> Callable[[Batch[Any]], Any]:
        """The same function of a pool's batches, which counts."""
        from ray import cloudpickle

        sizes: list[int] = []
        self._pools.append(sizes)
        numbers = itertools.count()

        def counted(batch: Batch[Any]) -> Any:
            content = message(batch)
            if next(numbers) % _SAMPLED == 0:
                sizes.append(len(cloudpickle.dumps(content)) // len(batch.items))
            return content

        return counted

    @property
    def bytes_a_row(self) -> float:
        """The mean of each pool's messages, added up."""
        return sum(mean(sizes) for sizes in self._pools if sizes)


class _StorePeak(Thread):
    """Reads what Ray's raylet writes of its object store, until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.ended = 0, Event()
        # Set before Ray starts.
        period = str(round(1000 * _SAMPLE_SECONDS))
        os.environ.setdefault("RAY_debug_dump_period_milliseconds", period)

    def run(self) -> None:
        """Keeps the most bytes that were held."""
        import ray

        while not self.ended.wait(_SAMPLE_SECONDS):
            node = ray._private.worker._global_node
            if node is None:
                continue
            state = Path(node.get_session_dir_path()) / "logs" / "debug_state.txt"
            with suppress(OSError):
                if free := _FREE.search(state.read_text()):
                    self.peak = max(self.peak, OBJECT_STORE_BYTES - int(free[1]))


def measure_size(items: int, transcribers: int) -> Figure:
    """Runs one size in this process."""
    from bench.execution.executor import execute
    from bench.execution.pool import Pool
    from tests.evidence.stub import ACTORS, stub_dataset, stub_run

    begun = ended = (0, 0.0, 0.0)
    first = last = 0.0
    messages, store = _Messages(), _StorePeak()
    begin_pool = Pool.__init__

    def begin_counted(self: Any, start: Any, size: int, message: Any, *others: Any) -> None:
        begin_pool(self, start, size, messages.counting(message), *others)

    Pool.__init__ = begin_counted  # type: ignore[assignment, method-assign]
    store.start()

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
        store.ended.set()
        transcribed = run.transcripts(run.cells[0])
        if transcribed["status"].to_list() != ["ok"] * items:
            raise RunFailed(f"{items} items: some are missing")
        sizes = [path.stat().st_size for path in Path(name).rglob("part-*.parquet")]
        resumed = time.monotonic()
        again = stub_run(Path(name), dataset, prompts=(0.0,), slots=SLOTS, cluster=cluster)
        resume = time.monotonic() - resumed
        if again.missing:
            raise RunFailed(f"{items} items: {again.missing} are missing when it is resumed")
    count, wall, computed = (e - b for e, b in zip(ended, begun, strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return Figure(
        items=items,
        transcribers=transcribers,
        seconds=seconds,
        ms_per_item=1000 * wall / count,
        driver_ms=1000 * computed / count,
        first_mb=first,
        last_mb=last,
        peak_mb=peak,
        parts=len(sizes),
        resume_seconds=resume,
        sent_bytes=messages.bytes_a_row,
        ledger_bytes=sum(sizes) / items,
        store_mb=store.peak / 1e6,
    )


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
            f"{figure.resume_seconds:.1f} s to resume, {figure.sent_bytes:.0f} bytes a row sent, "
            f"{figure.ledger_bytes:.0f} on the disk, {figure.store_mb:.1f} MB of objects at most",
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
