"""Measures throughput by the rules of MLPerf's offline scenario.

MLPerf Inference's rules ask for accuracy and speed of one and the same system, for a minimum time,
and forbid what remembers earlier queries (Reddi et al. 2020, "MLPerf Inference Benchmark",
sections III and IV). So a job is run twice, whole, by the real command, each time in an empty
folder, where no row of an earlier run can be found; its units, transcripts and scores must be the
same both times, and the rate is that of the run from its first row on.
"""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.commands.options import Parser, path, whole
from bench.common.errors import RunFailed, bad_input
from bench.common.machine import save as save_figures
from bench.common.yamlfile import parse
from bench.execution.stages import read_pace
from bench.jobs.spec import Job
from bench.store.ledger import Ledger
from bench.store.manifest import read_manifest
from bench.store.rows import GENERATED_SCHEMA
from tests.evidence.program import program

STEADY_SECONDS = 60.0
"""MLPerf's shortest duration of a measured run."""
_RUNS = 2


@dataclass(frozen=True)
class Audited:
    """One run: its rows, how fast they came after the first, and digests of what it made.

    `efficiency` is the share of the cores' time that the stages' own computing took, from the first
    transcriber that was ready to the last row; 0 where that is not known, as on GPUs.
    """

    rows: int
    seconds: float
    first: float
    rate: float
    duty: dict[str, float]
    efficiency: float
    units: str
    derived: str


def _digests(folder: Path) -> tuple[str, str]:
    """Returns the digests of all generated units, and of all rows and scores."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise RunFailed(f"{folder.name}: left no manifest")
    ledger, units = Ledger(folder / "ledger"), hashlib.sha256()
    for key in sorted({cell.speech_key for cell in manifest.cells}):
        rows = ledger.rows("generated", key, GENERATED_SCHEMA)
        for item, unit_bytes in rows.select("item", "units").iter_rows():
            units.update(f"{key}\0{item}\0".encode() + (unit_bytes or b""))
    derived = hashlib.sha256()
    for name in ("rows.parquet", "scores.parquet"):
        derived.update((folder / name).read_bytes())
    return units.hexdigest()[:16], derived.hexdigest()[:16]


def _run(job: Path, name: str, limit: int | None) -> Audited:
    with tempfile.TemporaryDirectory(prefix="pixvox-audit-") as runs:
        command = [sys.executable, "-P", "-m", "bench.cli", "run", str(job), "--runs", runs]
        command += ["--limit", str(limit)] if limit else []
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise RunFailed(f"pixvox run {job} ended with status {done.returncode}")
        folder = Path(runs) / name
        pace = read_pace(folder)
        if pace is None:
            raise RunFailed(f"{job}: generates nothing, so there is no rate to audit")
        units, derived = _digests(folder)
        return Audited(
            pace.rows,
            pace.seconds,
            pace.first,
            pace.rows / (pace.seconds - pace.first),
            {stage.name: round(stage.duty, 4) for stage in pace.stages},
            round(pace.efficiency, 4),
            units,
            derived,
        )


def faults(runs: list[Audited]) -> list[str]:
    """Returns why the runs are no valid audit; [] if they are."""
    messages = []
    if len({run.units for run in runs}) > 1:
        messages.append("the runs did not generate the same units")
    if len({run.derived for run in runs}) > 1:
        messages.append("the runs did not come to the same rows and scores")
    shortest = min(run.seconds - run.first for run in runs)
    if shortest < STEADY_SECONDS:
        messages.append(
            f"a run took {shortest:.0f} s from its first row; an audit takes at least "
            f"{STEADY_SECONDS:.0f}: raise the job's limit"
        )
    return messages


def run(job: Path, limit: int | None, save: Path | None) -> int:
    """Runs the job twice, prints and saves the result; returns 3 if the audit is not valid."""
    with bad_input():
        name = parse(job, Job).name
    runs = []
    for number in range(1, _RUNS + 1):
        result = _run(job, name, limit)
        runs.append(result)
        duty = ", ".join(f"{stage} {share:.0%} busy" for stage, share in result.duty.items())
        duty += f", cores at work {result.efficiency:.0%} of it" if result.efficiency else ""
        print(
            f"run {number}: {result.rows} rows, {result.rate:.3f} rows/s after the first row at "
            f"{result.first:.1f} s; {duty}; units {result.units}, rows and scores {result.derived}",
            flush=True,
        )
    differences = faults(runs)
    print(
        "; ".join(differences)
        if differences
        else "both runs made the same units, transcripts and scores"
    )
    figures: dict[str, Any] = {"job": job.name, "runs": [asdict(result) for result in runs]}
    save_figures(figures | {"faults": differences}, save)
    return 3 if differences else 0


def main(words: Sequence[str]) -> int:
    """Measures what the command line asks for; returns the exit code."""
    parser = Parser(
        prog="python -m tests.evidence.audit",
        description="A job's throughput, run twice and compared.",
    )
    parser.add_argument("job", type=path)
    parser.add_argument("--limit", type=whole(1, 10_000_000), help="take only the first N items")
    parser.add_argument("--save", type=path, help="write the figures as JSON")
    given = parser.parse_args(words)
    return run(given.job, given.limit, given.save)


if __name__ == "__main__":
    program(main)
