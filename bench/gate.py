"""`pixvox gate`: runs a job and judges it by a golden; made to be a step of somebody's CI."""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.golden import Golden, gathered, read_golden, write_golden
from bench.regression import Finding, Verdict, exact, incomparable, judge, overall
from bench.report.ci import annotations, write_ci
from bench.run import complete, opened, scored
from bench.spec import Job
from bench.speed import interleaved, judge_speed, measured
from bench.systems.specs import PixVoxSpec
from bench.yamlfile import parse

PASS, REGRESSED, INCONCLUSIVE = 0, 1, 4
"""Exit codes; 2 is bad usage and 3 a run that failed, as for every command."""
FIRST = 24
"""Items of the first look; every further look has twice as many."""
SPEED_ROUNDS = 6
SPEED_IMAGES = 24


@dataclass(frozen=True)
class Plan:
    """What to gate: a job against a golden, within a budget of seconds.

    `base` is a git revision whose speed is compared; None leaves speed out.
    """

    job: Path
    baseline: Path
    budget: float
    exact: bool = False
    any_machine: bool = False
    base: str | None = None


def seconds(text: str) -> float:
    """`90s`, `15m` or `1h` in seconds; raises UserError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if found is None:
        raise UserError(f"--budget {text}: write a number and s, m or h, such as 15m")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


def fingerprint() -> str:
    """What quality may depend on beside code and weights: the processor and its library."""
    import torch

    from bench.perf.machine import machine

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    facts = machine(device)
    return f"{facts.gpu or facts.processor}, torch {facts.torch}"


@contextmanager
def _fresh() -> Iterator[Path]:
    """A runs' folder with nothing in it.

    A cell's key does not know the code, so what an earlier version spoke must not answer for it.
    """
    with tempfile.TemporaryDirectory(prefix="pixvox-gate-") as name:
        yield Path(name)


def accept(job: Path, folder: Path) -> int:
    """Runs the job and keeps what it gave as a new golden; nothing old is changed."""
    with _fresh() as runs, opened(job, runs, None) as ready:
        complete(ready, runs)
        golden = gathered(ready.job.name, fingerprint(), scored(ready), ready.evaluation.ledger)
    path = write_golden(golden, folder)
    print(f"{path}: a new golden of {golden.rows.height} rows; commit it, and name it in your CI")
    return PASS


def _golden(plan: Plan, name: str) -> Golden | None:
    """The golden that the plan names, or the only one of the job in a folder."""
    if plan.baseline.is_file():
        return read_golden(plan.baseline)
    found = sorted(plan.baseline.glob(f"{name}-*.parquet"))
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UserError(f"{plan.baseline}: several goldens of {name} ({names}); name one")
    return read_golden(found[0]) if found else None


def _sizes(most: int) -> Iterator[int]:
    size = FIRST
    while size < most:
        yield size
        size *= 2
    yield most


def _look(plan: Plan, runs: Path, items: int) -> tuple[Golden, list[str]]:
    """The job's first items, run and scored."""
    with opened(plan.job, runs, items) as ready:
        complete(ready, runs)
        head = gathered(ready.job.name, fingerprint(), scored(ready), ready.evaluation.ledger)
        return head, [item.id for item in ready.evaluation.items]


def _end(verdict: Verdict, note: str) -> int:
    print(f"pixvox gate: {verdict.name}: {note}")
    return {Verdict.PASS: PASS, Verdict.REGRESSED: REGRESSED}.get(verdict, INCONCLUSIVE)


def gate(plan: Plan, out: Path | None) -> int:
    """Judges quality, and speed where a base is named; an exit code (see the constants).

    Looks at more items while it is inconclusive and there is budget; every look shares the rate
    of false alarms.
    """
    with _fresh() as runs:
        return _gate(plan, runs, out)


def _gate(plan: Plan, runs: Path, out: Path | None) -> int:
    started = time.monotonic()
    job: Job = parse(plan.job, Job)
    golden = _golden(plan, job.name)
    if golden is None:
        return _end(Verdict.INCONCLUSIVE, f"{plan.baseline}: no golden of {job.name} to judge by")
    sizes = list(_sizes(golden.rows["item"].n_unique()))
    findings: list[Finding] = []
    head = golden
    for number, size in enumerate(sizes):
        before = time.monotonic()
        head, items = _look(plan, runs, size)
        reason = incomparable(golden, head, plan.any_machine and not plan.exact)
        if reason:
            return _end(Verdict.INCONCLUSIVE, f"no comparable golden: {reason}")
        if plan.exact:
            findings = exact(golden, head, items)
        else:
            findings = judge(golden, head, items, looks=len(sizes))
        spent, last = time.monotonic() - started, time.monotonic() - before
        # The next look doubles the items, so it takes about as long again as all so far.
        afford = spent + 2 * last < plan.budget
        if number + 1 == len(sizes) or not afford:
            break
        if not plan.exact and overall(findings) != Verdict.INCONCLUSIVE:
            break
    if plan.base is not None:
        findings += _speed(plan.base, job)
    note = f"{len(items)} items a cell, {time.monotonic() - started:.0f} s"
    _tell(findings)
    if out is not None:
        write_ci(findings, golden, head, note, out)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        print("\n".join(annotations(findings)))
        summary = os.environ.get("GITHUB_STEP_SUMMARY")
        if summary and out is not None:
            with Path(summary).open("a", encoding="utf-8") as stream:
                stream.write((out / "comment.md").read_text(encoding="utf-8"))
    return _end(overall(findings), note)


def _tell(findings: Sequence[Finding]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from bench.report.terminal import make_console
    from bench.report.text import clean

    table = Table("", "cell", "what", "", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for found in findings:
        cells = (found.verdict.name, found.cell, found.what, found.detail)
        table.add_row(*(Text(clean(cell)) for cell in cells))
    make_console().print(table)


@contextmanager
def _checkout(revision: str) -> Iterator[Path]:
    """A git revision of this repository in a folder of its own; raises UserError if unknown."""
    with tempfile.TemporaryDirectory(prefix="pixvox-base-") as name:
        folder = Path(name) / "base"
        command = ["git", "worktree", "add", "--detach", "--quiet", str(folder), revision]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = " ".join(done.stderr.split())
            raise UserError(f"--base {revision}: no such revision here ({reason})")
        try:
            yield folder
        finally:
            remove = ["git", "worktree", "remove", "--force", str(folder)]
            subprocess.run(remove, capture_output=True, check=False)


def _speed(revision: str, job: Job) -> list[Finding]:
    weights = [s.weights for s in job.systems if isinstance(s, PixVoxSpec)]
    if not weights:
        raise UserError("--base: the job has no PixVoxLM whose speed could be measured")
    here = Path.cwd()
    with _checkout(revision) as folder:
        replicates = interleaved(
            lambda: measured(folder, weights[0], SPEED_IMAGES),
            lambda: measured(here, weights[0], SPEED_IMAGES),
            SPEED_ROUNDS,
        )
    return judge_speed(*replicates)
