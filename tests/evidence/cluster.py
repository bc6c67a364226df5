"""`python -m tests.evidence.cluster JOB`: a job over raylets that have none of its files.

The job is run on this machine, and again over a cluster of raylets (tests.evidence.raylets); while
the second run works, one raylet is killed and another added. Every derived file and all speech have
to be the same bytes. For root, the raylets are isolated: pictures, recordings, weights and the
driver's cache are hidden from all of them, and each has an address of its own.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import bench
from bench.common import scratch
from bench.common.errors import RunFailed
from bench.common.jobfile import JobFile
from bench.common.text import plural
from bench.execution.nodefiles import whole_files
from bench.execution.prepare import resolve_job
from pixvox.cache import cache_folder
from tests.evidence.chaos.subjects import real
from tests.evidence.program import program
from tests.evidence.raylets import Raylets, can_isolate

_KILL_AFTER = 2
"""A raylet is killed after this many parts of the ledger have been committed."""
_POLL_SECONDS = 0.1


def files_of(job: Path, work: Path) -> list[Path]:
    """Returns the files and folders that a job's driver reads and that no node needs.

    A folder that Python, the package or the raylets' folder `work` is in is left out.
    """
    planned = resolve_job(JobFile(job), Path("unused"))
    asrs = [cell.asr for cell in planned.cells if cell.asr is not None]
    paths = set(whole_files([cell.system for cell in planned.cells], asrs).values())
    for item in planned.dataset.items:
        paths.add(item.image.parent)
        for caption in item.captions:
            paths |= {caption.speech.parent} if caption.speech is not None else set()
            paths |= {caption.units.file} if caption.units is not None else set()
    paths |= {cache_folder(), job.parent}
    python = (Path(sys.prefix).resolve(), Path(sys.executable).resolve(), Path(sys.executable))
    needed = (*python, Path(bench.__path__[0]).resolve(), work.resolve())
    hidden = {
        path.resolve()
        for path in paths
        if path.exists() and not any(place.is_relative_to(path.resolve()) for place in needed)
    }
    # What lies in a hidden folder is hidden with it.
    return sorted(path for path in hidden if not hidden & set(path.parents))


def main(words: Sequence[str]) -> int:
    """Runs the job twice and prints the differences; returns 3 if there are any, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.evidence.cluster")
    parser.add_argument("job", type=Path)
    parser.add_argument("--raylets", type=int, default=3)
    parser.add_argument("--limit", type=int)
    given = parser.parse_args(words)
    isolated = can_isolate()
    # Ray's sockets lie in it, and their paths must be short.
    work = scratch.make()
    try:
        hidden = files_of(given.job, work.path) if isolated else []
        command = [sys.executable, "-m", "bench.cli", "run", str(given.job)]
        command += [] if given.limit is None else ["--limit", str(given.limit)]
        local, there = work.path / "local", work.path / "cluster"
        alone = subprocess.run([*command, "--address", "local", "--runs", str(local)], check=False)
        if alone.returncode:
            raise RunFailed(f"the run on one machine ended with code {alone.returncode}")
        with Raylets(work.path, given.raylets, hidden=hidden, isolated=isolated) as raylets:
            _run_and_move([*command, "--runs", str(there)], there, raylets)
            written = raylets.written()
        differing, total = _compare(given.job, local, there)
        apart = f"{plural(len(hidden), 'path')} hidden, addresses of their own"
        print(
            f"{plural(given.raylets, 'raylet')} ({apart if isolated else 'not isolated'}), one "
            f"killed, one added: {plural(total, 'file')} compared, {len(differing)} differ; "
            f"{plural(len(written), 'file')} written outside Ray's folders"
        )
        for path in (*differing[:10], *written[:10]):
            print(f"  {path}")
        return 3 if differing or written or not total else 0
    finally:
        work.remove()


def _run_and_move(command: list[str], runs: Path, raylets: Raylets) -> None:
    """Runs the job, and replaces a raylet once parts are committed; raises RunFailed."""
    driver = subprocess.Popen(command, env=os.environ | raylets.environment())
    is_moved = False
    while driver.poll() is None:
        if not is_moved and len(list(runs.rglob("part-*.parquet"))) >= _KILL_AFTER:
            raylets.replace_node(random.Random(0))
            is_moved = True
        time.sleep(_POLL_SECONDS)
    if driver.returncode:
        raise RunFailed(f"the run over the cluster ended with code {driver.returncode}")
    if not is_moved:
        raise RunFailed("the run ended before a raylet was killed; take more items")


def _compare(job: Path, local: Path, there: Path) -> tuple[list[str], int]:
    """Returns the names of files that differ or lack a counterpart, and the number of files."""
    subject = real(job)
    ours, theirs = (
        {
            **subject.derived(folder),
            **{str(path.relative_to(folder)): path for path in folder.rglob("speech/*/*.wav")},
        }
        for folder in (local, there)
    )
    names = sorted({*ours, *theirs})
    differing = [
        name
        for name in names
        if name not in ours
        or name not in theirs
        or ours[name].read_bytes() != theirs[name].read_bytes()
    ]
    return differing, len(names)


if __name__ == "__main__":
    program(main)
