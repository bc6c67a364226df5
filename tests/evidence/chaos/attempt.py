"""One attempt at a stub run, in a process of its own, that may end itself somewhere in a commit.

A driver is among what is killed, so it is not ours.
"""

import argparse
import json
import os
import resource
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from bench.asr.shipped import DEFAULT
from bench.common.progress import Progress
from bench.execution.executor import execute
from bench.execution.runstate import RunState
from bench.store.ledger import Ledger
from tests.evidence.chaos.subjects import OWN_DEATHS
from tests.evidence.stub import ACTORS, METRIC, stub_dataset, stub_run


def _silent(what: str, done: int, total: int) -> None:
    """Reports nothing."""


def finish(
    run: RunState,
    folder: Path,
    stop: Callable[[], bool] = lambda: False,
    score: bool = True,
    report: Progress = _silent,
) -> None:
    """Completes the run and writes the compared files, `rows.parquet` and `scores.json`."""
    with run.ledger.lock():
        if run.missing or run.unmeasured:
            execute(run, report, ACTORS, stop)
        tables = [(cell, run.transcripts(cell)) for cell in run.cells]
    pl.concat([t.with_columns(cell=pl.lit(c.prompt)) for c, t in tables]).write_parquet(
        folder / "rows.parquet"
    )
    if not score:
        return
    from bench.scoring.scorer import AsrFacts, Scorer

    data = stub_dataset(len(run.items))
    facts: AsrFacts = {DEFAULT: {"weights": "", "protocol": 0}}
    with Scorer(data, run.job.scoring, facts, folder.parent) as scorer:
        scores = scorer.score_all(tables)
    text = json.dumps({str(s.cell.prompt): s.corpus for s in scores})
    (folder / "scores.json").write_text(text + "\n")


def _die_at(kind: str, after: int) -> None:
    """Makes this process kill itself at the `after`-th commit, before or after the rename."""
    calls = Counter[str]()
    real = os.fsync

    def fsync(descriptor: Any) -> None:
        # A part's file is synced before it gets its name, its folder after.
        point = "rename" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "write"
        calls[point] += 1
        if point == kind and calls[point] == after:
            os.kill(os.getpid(), signal.SIGKILL)
        real(descriptor)

    os.fsync = fsync  # type: ignore[assignment]


def _fill_disk(ledger: Ledger, after: int) -> None:
    """Limits the size of files to 100 bytes from the `after`-th part on."""
    # Every file beyond so many bytes fails to be written, as on a full disk.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    real = ledger.append
    count = 0

    def append(stage: str, key: str, rows: pl.DataFrame) -> None:
        nonlocal count
        count += 1
        if count == after:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        real(stage, key, rows)

    ledger.append = append  # type: ignore[method-assign]


def main(arguments: Sequence[str]) -> int:
    """Runs, or resumes, the stub run of a folder; returns 130 if it was interrupted."""
    from bench.common.interrupt import stoppable

    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--items", type=int)
    parser.add_argument("--die", choices=(*OWN_DEATHS, "none"))
    parser.add_argument("--after", type=int)
    parser.add_argument("--transcribers", type=int, default=1)
    given = parser.parse_args(arguments)
    if given.die in ("write", "rename"):
        _die_at(given.die, given.after)
    cluster: dict[str, object] = {"generators": 1, "deadline_seconds": 8}
    cluster["transcribers"] = given.transcribers
    dataset = stub_dataset(given.items)
    run = stub_run(given.folder, dataset, cluster=cluster, metrics=[METRIC])
    if given.die == "disk":
        _fill_disk(run.ledger, given.after)
    try:
        with stoppable() as stop:
            finish(run, given.folder, stop)
    except KeyboardInterrupt:
        return 130
    return 0
