"""Runs a job and judges it by a golden, or writes a new golden."""

import re
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.common.errors import RunFailed, UserError
from bench.common.jobfile import JobFile
from bench.gate.bitwise import exact
from bench.gate.boundaries import analysis_sizes
from bench.gate.ci import Shown
from bench.gate.failure import prepare
from bench.gate.golden import Golden, read_golden, write_golden
from bench.gate.likelihood import judge_likelihood
from bench.gate.outputs import (
    FirstItems,
    fingerprint,
    fresh_runs,
    likelihoods_of,
    run_first_items,
    signatures_of,
)
from bench.gate.power import Certificate, certificate
from bench.gate.protocol import groups, incomparable, other_protocol
from bench.gate.quality import judge
from bench.gate.verdicts import Finding, Rule, Verdict, overall
from bench.gate.worst import save_speech, worst_items
from bench.jobs.spec import Job
from bench.metrics.loading import metrics_of
from bench.scoring.signature import Signature

ANALYSES = 3
"""How many interim analyses a gate has: after one third, two thirds, and all of the items."""


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """What to judge: a job by a golden, within a budget of seconds.

    `margin` is the share of a score that may be lost, None for the default. `out` is the folder for
    CI's files, and `links` its address in links.
    """

    job: JobFile
    baseline: Path
    budget: float
    exact: bool = False
    any_machine: bool = False
    margin: float | None = None
    out: Path | None = None
    links: str = ""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The result of a gate: its findings, the worst items, and a sentence on what was compared.

    Without `could_judge` there was no golden that could judge the job.
    """

    findings: Sequence[Finding]
    shown: Shown
    note: str
    could_judge: bool


@dataclass(frozen=True)
class Accepted:
    """A new golden's file, and the number of its rows."""

    path: Path
    rows: int


def accept(job: JobFile, folder: Path) -> Accepted:
    """Runs the job and writes its outputs as a new golden; old goldens are not changed.

    Raises UserError if `folder` is not a folder, RunFailed if a cell generated nothing.
    """
    if folder.is_file():
        raise UserError(f"{folder}: is a file; goldens are not replaced; name their folder")
    with fresh_runs() as runs:
        golden = run_first_items(job, runs, None, likelihoods_of(job)).outputs
    for cell in golden.signatures:
        if golden.rows.filter(cell=cell, status="ok").is_empty():
            raise RunFailed(f"{cell}: every item failed, so it cannot be a golden")
    return Accepted(write_golden(golden, folder), golden.rows.height)


def _golden(options: GateOptions, name: str) -> Golden | None:
    """Returns the golden that the options name, or the only one of the job in a folder."""
    paths = [options.baseline] if options.baseline.is_file() else []
    if options.baseline.is_dir():
        ours = re.compile(re.escape(name) + r"-[0-9a-f]{12}\.parquet")
        paths = sorted(path for path in options.baseline.iterdir() if ours.fullmatch(path.name))
    if len(paths) > 1:
        names = ", ".join(path.name for path in paths)
        raise UserError(f"{options.baseline}: several goldens of {name} ({names}); name one")
    return read_golden(paths[0]) if paths else None


def _unfit(options: GateOptions, job: Job, golden: Golden | None) -> str:
    """Returns why nothing can be judged, before anything is run; "" if it can."""
    if golden is None:
        place = shlex.quote(str(options.baseline))
        make = f"make one: pixvox gate {options.job.words} --baseline {place} --accept"
        return f"{options.baseline}: There is no golden of {job.name}; {make}"
    if golden.job != job.name:
        return f"{options.baseline}: The golden is of the job {golden.job}, not of {job.name}."
    here = fingerprint()
    if golden.machine != here and (options.exact or not options.any_machine):
        way = "--exact needs the golden's machine"
        if not options.exact:
            way = "add --any-machine to judge its scores here, or make a golden here (--accept)"
        return f"The golden was made on {golden.machine}; this machine is {here}; {way}."
    return ""


def judge_job(options: GateOptions, announce: Callable[[Certificate], None]) -> Judgement:
    """Judges the quality of a job by its golden.

    `announce` gets the certificate before anything runs. More items are analysed while quality has
    not regressed and the budget lasts; all analyses share the rate of false alarms. Raises
    UserError for invalid input and RunFailed if the run fails.
    """
    started = time.monotonic()
    job: Job = options.job.read(Job)
    if options.out is not None:
        prepare(options.out)
    golden = _golden(options, job.name)
    reason = _unfit(options, job, golden)
    signatures: dict[str, Signature] = {}
    if golden is not None and not reason:
        signatures = signatures_of(options.job)
        reason = other_protocol(golden.signatures, signatures)
        if not reason and not options.exact:
            announce(_certificate(options, job, golden, list(signatures)))
    counted, shown, sharp = "not compared", Shown(), list[Finding]()
    if golden is not None and not reason and not options.exact:
        weights = {name: signature.weights for name, signature in signatures.items()}
        sharp = judge_likelihood(golden, likelihoods_of(options.job), weights)
    findings = list(sharp)
    # Findings without chance need no speech.
    if golden is not None and not reason and overall(sharp) != Verdict.REGRESSED:
        with fresh_runs() as runs:
            first, quality, reason = _analyses(
                options, golden, list(signatures), runs, started=started
            )
            findings = [*sharp, *quality]
            if not reason:
                most = _rule(options, golden, list(signatures))[0][-1]
                counted = f"{overall(quality).name} ({len(first.items)} of {most} items a cell"
                regressed = overall(quality) == Verdict.REGRESSED
                fits = len(first.items) == most or regressed
                counted += ")" if fits else "; more would not fit into the budget)"
                worst = worst_items(golden, first.outputs, first.metrics)
                files = [("", "")] * len(worst)
                if options.out is not None:
                    files = save_speech(worst, golden, first.cells, first.folder, out=options.out)
                shown = Shown(worst, files, options.links)
    if reason:
        findings.append(
            Finding(cell="gate", what="golden", verdict=Verdict.INCONCLUSIVE, detail=reason)
        )
    spent = f"{time.monotonic() - started:.0f} s of {options.budget:.0f}"
    note = f"quality {counted}; {spent}"
    return Judgement(findings=findings, shown=shown, note=note, could_judge=not reason)


def _rule(options: GateOptions, golden: Golden, cells: Sequence[str]) -> tuple[list[int], Rule]:
    """Returns the number of items at each analysis, and how tests share the false alarms."""
    most = golden.rows.filter(cell=cells[0]).height
    sizes = analysis_sizes(most, ANALYSES)
    shares = tuple(size / most for size in sizes)
    rule = Rule(share=options.margin, shares=shares, groups=len(groups(cells)), cells=len(cells))
    return sizes, rule


def _certificate(
    options: GateOptions, job: Job, golden: Golden, cells: Sequence[str]
) -> Certificate:
    """Returns what this gate can detect, and what it lets pass."""
    sizes, rule = _rule(options, golden, cells)
    return certificate(golden, cells, sizes[-1], rule, known=metrics_of(job.scoring.metrics))


def _analyses(
    options: GateOptions, golden: Golden, cells: Sequence[str], runs: Path, *, started: float
) -> tuple[FirstItems, list[Finding], str]:
    """Returns the last analysis, its findings, and why nothing could be judged ("" if it could)."""
    sizes, rule = _rule(options, golden, cells)
    if options.exact:
        sizes = sizes[-1:]
    for number, size in enumerate(sizes):
        before = time.monotonic()
        first = run_first_items(options.job, runs, size, {})
        reason = incomparable(golden, first.outputs)
        if reason:
            return first, [], reason
        if options.exact:
            return first, exact(golden, first.outputs, first.items), ""
        at = replace(rule, analysis=number)
        findings = judge(
            golden,
            first.outputs,
            first.items,
            rule=at,
            known=first.metrics,
            resampling=first.resampling,
        )
        # Every analysis adds the same number of items.
        last, spent = time.monotonic() - before, time.monotonic() - started
        # A pass uses all items within the budget, because rare failures are not among the first
        # few.
        if overall(findings) == Verdict.REGRESSED or spent + last > options.budget:
            break
    return first, findings, ""
