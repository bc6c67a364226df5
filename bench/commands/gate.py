"""`pixvox gate`: runs a job and judges it by a golden, as a step of a CI.

No large library is imported before `run`, so that a gate without memory can report its failure.
"""

import os
import re
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands.arguments import add_job, job_file
from bench.commands.options import Parser, path

if TYPE_CHECKING:
    from bench.gate.ci import Shown
    from bench.gate.power import Certificate
    from bench.gate.verdicts import Finding, Verdict

PASS, REGRESSED, INCONCLUSIVE = 0, 1, 4
"""Exit codes; 2 is invalid input and 3 a failed run, as for every command."""
LINE = 100
"""The longest printed line in characters, unless the terminal is narrower."""


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of the command."""
    add_job(parser, "a job file, such as jobs/demo.yaml")
    golden = Path("results/golden")
    parser.add_argument("--baseline", type=path, default=golden, help="a golden, or their folder")
    parser.add_argument("--budget", default="15m", help="the time it may take: 90s, 15m, 1h")
    parser.add_argument(
        "--exact", action="store_true", help="compare bit for bit, for a refactoring"
    )
    parser.add_argument("--accept", action="store_true", help="make a new golden, deliberately")
    parser.add_argument("--any-machine", action="store_true", help="quality from other hardware")
    parser.add_argument("--allow-inconclusive", action="store_true", help="then exit 0, not 4")
    parser.add_argument("--margin", help="the loss allowed, such as 5%%, of a score")
    parser.add_argument("--out", type=path, help="where junit.xml, comment.md, ... go")
    parser.add_argument("--links", default="", help="the address at which --out will be found")


def run(args: Namespace) -> int:
    """Judges the job, or writes a new golden; returns an exit code (see the constants).

    Raises UserError for invalid input and RunFailed if the run fails.
    """
    from bench.common.text import clean, plural
    from bench.gate.judging import GateOptions, accept, judge_job
    from bench.gate.verdicts import Verdict, overall

    job = job_file(args)
    options = GateOptions(
        job=job,
        baseline=args.baseline,
        budget=seconds(args.budget),
        exact=args.exact,
        any_machine=args.any_machine,
        margin=share(args.margin) if args.margin else None,
        out=args.out,
        links=args.links,
    )
    if args.accept:
        golden = accept(job, args.baseline)
        rows = plural(golden.rows, "row")
        file = clean(str(golden.path))
        print(f"{file}: a new golden of {rows}; commit it, and name it in your CI")
        return PASS
    judgement = judge_job(options, _print_certificate)
    publish(judgement.findings, judgement.shown, judgement.note, args.out)
    verdict = overall(judgement.findings)
    print(f"pixvox gate: {verdict.name}: {judgement.note}")
    if verdict == Verdict.INCONCLUSIVE and args.allow_inconclusive and judgement.could_judge:
        return PASS
    return code_of(verdict)


def code_of(verdict: "Verdict") -> int:
    """Returns the exit code of a verdict."""
    return {"REGRESSED": REGRESSED, "INCONCLUSIVE": INCONCLUSIVE}.get(verdict.name, PASS)


def seconds(text: str) -> float:
    """Returns `90s`, `15m` or `1h` in seconds; raises UserError for anything else."""
    from bench.common.errors import UserError

    match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)([smh])", text)
    if match is None:
        raise UserError(f"--budget {text}: write a number and s, m or h, such as 15m")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def share(text: str) -> float:
    """Returns `5%` as 0.05; raises UserError for anything else."""
    from bench.common.errors import UserError

    match = re.fullmatch(r"([0-9]{1,2}(?:\.[0-9]{1,6})?)%", text)
    if match is None:
        raise UserError(f"--margin {text}: write a share of the score, such as 5%")
    return float(match[1]) / 100


def report_failure(args: Namespace, why: str) -> None:
    """Reports why a gate could not judge, in the files for its findings."""
    if args.accept:
        return
    from bench.gate.failure import failure_texts, github_error, prepare, write

    texts = failure_texts(why)
    try:
        if args.out is not None and not args.out.is_file():
            prepare(args.out)
            write(args.out, *texts)
        tell_github([github_error(why)], texts[1])
    except OSError as error:
        import sys

        print(f"pixvox: the report could not be written: {error}", file=sys.stderr)


def publish(findings: "Sequence[Finding]", items: "Shown", note: str, folder: Path | None) -> None:
    """Prints the findings, reports them to GitHub Actions, and writes the files for CI."""
    from bench.gate.ci import annotations, badge, comment, junit
    from bench.gate.failure import write
    from bench.gate.verdicts import overall

    text = comment(findings, items, note)
    print_findings(findings)
    tell_github(annotations(findings), text)
    if folder is not None:
        write(folder, junit(findings), text, badge(overall(findings)))


def tell_github(lines: Sequence[str], text: str) -> None:
    """Writes annotations, and the comment as the step's summary, under GitHub Actions."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return
    print("\n".join(lines))
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with Path(summary).open("a", encoding="utf-8") as stream:
            stream.write(text)


def _print_certificate(certificate: "Certificate") -> None:
    from bench.report.terminal import make_console, say_lines, show_frame

    console = make_console()
    say_lines(console, certificate.sentences)
    show_frame(certificate.table, "Loss that is detected / largest loss that passes", console)


def print_findings(findings: "Sequence[Finding]") -> None:
    """Prints a verdict a line, and below it each score before and now."""
    from rich.text import Text

    from bench.common.text import clean
    from bench.gate.ci import shortened
    from bench.gate.verdicts import Verdict
    from bench.report.fit import wrapped
    from bench.report.terminal import make_console

    console = make_console()
    width = min(console.width, LINE)
    head = max(len(verdict.name) for verdict in Verdict) + 2
    for finding in shortened(findings):
        detail = f": {finding.detail}" if finding.detail else ""
        text = clean(f"{finding.cell}: {finding.what}{detail}")
        name = f"{finding.verdict.name:{head}}"
        for line in wrapped(text, width - head):
            console.print(Text(name + line))
            name = " " * head
        widest = max((len(change.score) for change in finding.changes), default=0)
        for change in finding.changes:
            start = f"{' ' * (head + 2)}{change.score:{widest}}  "
            first, *rest = wrapped(change.words, max(width - len(start), head))
            for line in (start + first, *(" " * len(start) + more for more in rest)):
                console.print(Text(line))
