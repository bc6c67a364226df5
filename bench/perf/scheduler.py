"""`pixvox perf scheduler`: what an item costs the driver when models cost nothing.

The ledger, the scheduler and Ray are the real ones. Every size runs in a process of its own, so
that one's memory is not another's.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.common.errors import RunFailed

SLOTS = 32
_PAGE = resource.getpagesize()


@dataclass(frozen=True)
class Figure:
    """A run of stub items.

    `ms_per_item` leaves out what Ray needs to start and end. `first_mb` is the driver's memory once
    a tenth of the items is transcribed, `last_mb` with the last one, `peak_mb` the most that it
    ever had, once all rows had been read for scoring. `resume_seconds` is what a run needs before
    its first actor starts, to know all these rows as done.
    """

    items: int
    seconds: float
    ms_per_item: float
    first_mb: float
    last_mb: float
    peak_mb: float
    parts: int
    resume_seconds: float


def _resident() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 1e6


def one(items: int) -> Figure:
    """Runs one size in this process."""
    from bench.execution.completion import make_whole
    from bench.selfcheck.stub import ACTORS, stub_dataset, stub_run

    marks: dict[str, float] = {}
    first = last = 0.0

    def report(what: str, done: int, total: int) -> None:
        nonlocal first, last
        if what != "transcribing":
            return
        marks.setdefault("begun", time.monotonic())
        if not first and 10 * done >= total:
            first = _resident()
        if done == total and "done" not in marks:
            marks["done"], last = time.monotonic(), _resident()

    with tempfile.TemporaryDirectory(prefix="pixvox-scheduler-") as name:
        cluster: dict[str, object] = {"generators": 1, "transcribers": 2}
        dataset = stub_dataset(items, 0)
        run = stub_run(Path(name), dataset, prompts=(0.0,), slots=SLOTS, cluster=cluster)
        started = time.monotonic()
        # As a driver does it: who has the lock joins small parts.
        with run.ledger.lock():
            make_whole(run, report, ACTORS)
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
    per_item = 1000 * (marks["done"] - marks["begun"]) / items
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return Figure(items, seconds, per_item, first, last, peak, parts, resume)


def run(sizes: list[int], save: Path | None) -> int:
    """Measures every size, prints a line for each, and saves them if asked."""
    from bench.common.machine import save as save_figures

    figures: list[Figure] = []
    for items in sizes:
        done = subprocess.run(
            [sys.executable, "-m", "bench.perf.scheduler", str(items)],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RunFailed(f"the run of {items} items failed with status {done.returncode}")
        figure = Figure(**json.loads(done.stdout.splitlines()[-1]))
        figures.append(figure)
        print(
            f"{figure.items:7} items: {figure.ms_per_item:.2f} ms an item, "
            f"{figure.first_mb:.0f} MB at a tenth, {figure.last_mb:.0f} MB at the end, "
            f"{figure.peak_mb:.0f} MB with all rows read, {figure.parts} parts, "
            f"{figure.resume_seconds:.1f} s to resume",
            flush=True,
        )
    ratio = figures[-1].last_mb / figures[0].last_mb
    print(f"memory at the end, {sizes[-1]} items over {sizes[0]}: {ratio:.2f}x")
    save_figures({"memory_ratio": ratio, "figures": [asdict(f) for f in figures]}, save)
    return 0


if __name__ == "__main__":
    print(json.dumps(asdict(one(int(sys.argv[1])))))
