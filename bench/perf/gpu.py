"""`pixvox perf gpu`: whether the code of a GPU is right and how fast it is, in one report.

On a machine without a GPU the same checks run small on the CPU, and every line says that nothing is
proven by it. A check that finds no time left within the budget is not begun, and one whose packages
are not installed is not measured: the model's own need neither Ray nor Polars.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from bench.common.atomic import write_text
from bench.common.machine import machine
from bench.common.text import inert_markdown, reason_of
from bench.perf.gpucourse import Course, Finding, course_of
from bench.perf.gpumodel import (
    check_attention,
    check_bfloat16,
    check_codec,
    check_company,
    check_images,
    check_profile,
    check_steps,
    check_training,
    check_units,
)

BUDGET_SECONDS = 480.0
"""The command ends in 8 minutes: no check begins later than this less its own estimate."""

Outcome = Literal["proven", "FAILED", "not proven", "measured", "not measured"]


def check_whisper(course: Course) -> Finding:
    """See bench.perf.gpusuite, which is imported here: it needs the packages of the suite."""
    from bench.perf import gpusuite

    return gpusuite.check_whisper(course)


def check_run(course: Course) -> Finding:
    """See bench.perf.gpusuite."""
    from bench.perf import gpusuite

    return gpusuite.check_run(course)


@dataclass(frozen=True)
class Check:
    """A check by its title; `seconds` is the most that it takes on the device it is meant for."""

    title: str
    run: Callable[[Course], Finding]
    seconds: float


CHECKS = (
    Check("greedy units, every pattern, float32", check_units, 40),
    Check("units do not depend on company", check_company, 40),
    Check("codec", check_codec, 20),
    Check("image encoder", check_images, 10),
    Check("Whisper tiny.en", check_whisper, 40),
    Check("attention of variable length, bfloat16", check_attention, 20),
    Check("bfloat16 beside float32", check_bfloat16, 30),
    Check("decoding steps", check_steps, 90),
    Check("operators of a step", check_profile, 30),
    Check("training steps", check_training, 40),
    Check("whole runs", check_run, 150),
)
"""In the order of what matters most, for the time may end."""


def measure(course: Course, report: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Runs the checks within the budget, and returns what each found."""
    started = time.perf_counter()
    rows = []
    for number, check in enumerate(CHECKS):
        report(check.title, number, len(CHECKS))
        begun = time.perf_counter()
        if begun - started + check.seconds > BUDGET_SECONDS:
            finding, outcome = Finding("no time was left"), "not measured"
        else:
            finding, outcome = _outcome(check, course)
        row = {"check": check.title, "result": outcome, "seconds": time.perf_counter() - begun}
        rows.append(row | asdict(finding))
    report("done", len(CHECKS), len(CHECKS))
    return {
        "machine": asdict(machine(course.device)),
        "on_gpu": course.on_gpu,
        "seconds": time.perf_counter() - started,
        "checks": rows,
    }


def _outcome(check: Check, course: Course) -> tuple[Finding, Outcome]:
    try:
        finding = check.run(course)
    except ModuleNotFoundError as error:
        return Finding(reason_of(error)), "not measured"
    except Exception as error:
        # Whatever a device raises is a finding; the other checks are still worth their time.
        return Finding(reason_of(error), False), "FAILED"
    if finding.holds is False:
        return finding, "FAILED"
    if not course.on_gpu:
        return finding, "not proven"
    return finding, "measured" if finding.holds is None else "proven"


def markdown(result: dict[str, Any]) -> str:
    """The report as a page."""
    facts = result["machine"]
    lines = [
        "# What was proven on a GPU",
        "",
        f"`pixvox perf gpu` on {facts['gpu'] or facts['processor']}, torch {facts['torch']}, "
        f"{result['seconds']:.0f} s.",
        "",
    ]
    if not result["on_gpu"]:
        lines += [
            "There is no GPU here. The checks ran small on the CPU, through the code that a GPU "
            "runs where that is possible, and prove nothing of a GPU.",
            "",
        ]
    lines += ["| check | result | what was seen |", "|---|---|---|"]
    for row in result["checks"]:
        lines.append(f"| {row['check']} | {row['result']} | {inert_markdown(row['words'])} |")
    return "\n".join(lines) + "\n"


def run(save: Path | None) -> int:
    """Runs all checks and prints the report; with `save`, writes it as JSON, and as Markdown
    beside. 3 where a check failed, else 0."""
    from bench.common.progress import progress

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with progress() as report:
        result = measure(course_of(device), report)
    page = markdown(result)
    print(page)
    if save is not None:
        write_text(save, json.dumps(result, indent=1) + "\n")
        write_text(save.with_suffix(".md"), page)
    return 3 if any(row["result"] == "FAILED" for row in result["checks"]) else 0
