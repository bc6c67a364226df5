"""A gate's findings for CI: JUnit, annotations, a comment, and a badge."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote
from xml.etree import ElementTree

from bench.common.text import clean, inert_markdown
from bench.gate.failure import escaped, xml
from bench.gate.verdicts import SCORES, Change, Finding, Verdict, overall
from bench.gate.worst import Worst

_COLOURS = {Verdict.PASS: "brightgreen", Verdict.INCONCLUSIVE: "yellow", Verdict.REGRESSED: "red"}
_LEVELS = {Verdict.INCONCLUSIVE: "warning", Verdict.REGRESSED: "error"}


def junit(findings: Sequence[Finding]) -> str:
    """Returns JUnit XML with a test case for each finding; INCONCLUSIVE ones are skipped."""
    suite = ElementTree.Element(
        "testsuite",
        name="pixvox gate",
        tests=str(len(findings)),
        failures=str(sum(f.verdict == Verdict.REGRESSED for f in findings)),
        skipped=str(sum(f.verdict == Verdict.INCONCLUSIVE for f in findings)),
    )
    for finding in findings:
        case = ElementTree.SubElement(
            suite, "testcase", classname=clean(finding.cell), name=clean(finding.what)
        )
        if finding.verdict != Verdict.PASS:
            tag = "failure" if finding.verdict == Verdict.REGRESSED else "skipped"
            ElementTree.SubElement(case, tag, message=clean(finding.detail))
    return xml(suite)


def annotations(findings: Sequence[Finding]) -> list[str]:
    """Returns GitHub workflow commands for all findings that did not pass."""
    return [
        f"::{_LEVELS[f.verdict]} title={escaped(f'{f.cell}: {f.what}', ':,')}"
        f"::{escaped(f'{f.verdict.name}: {f.detail}')}"
        for f in findings
        if f.verdict != Verdict.PASS
    ]


def shortened(findings: Sequence[Finding]) -> list[Finding]:
    """Returns findings that did not pass, worst first, and one line for each cell's passed ones.

    A cell's scores are with the first of its lines.
    """
    rows = sorted((f for f in findings if f.verdict != Verdict.PASS), key=lambda f: -f.verdict)
    for cell in dict.fromkeys(finding.cell for finding in findings):
        checks = [finding for finding in findings if finding.cell == cell]
        passed = sum(finding.verdict == Verdict.PASS for finding in checks)
        if passed:
            rows.append(
                Finding(
                    cell=cell,
                    what=f"{passed} of {len(checks)} checks",
                    verdict=Verdict.PASS,
                    detail="",
                )
            )
    changes = {f.cell: f.changes for f in findings if f.what == SCORES}
    return [replace(row, changes=changes.pop(row.cell, ())) for row in rows]


def _transcribed(text: str, name: str, links: str) -> str:
    """Returns a transcript with a link to its speech, if there is one."""
    shown = inert_markdown(text or "(nothing)")
    return f"{shown} ([listen]({links}{name}))" if name else shown


@dataclass(frozen=True)
class Shown:
    """The worst items, the names of each item's two files, and the address of their folder."""

    worst: Sequence[Worst] = ()
    speech: Sequence[tuple[str, str]] = ()
    links: str = ""


def comment(findings: Sequence[Finding], items: Shown, note: str) -> str:
    """Returns a pull request's comment in Markdown, in which transcripts are escaped."""
    links = items.links
    prefix = f"{quote(links.rstrip('/'), safe=':/?&=%~+,@')}/" if links else ""
    lines = [f"## pixvox gate: {overall(findings).name}", "", inert_markdown(note), ""]
    lines += ["| | cell | what | |", "|:--|:--|:--|:--|"]
    for finding in shortened(findings):
        cells = (finding.verdict.name, finding.cell, finding.what, finding.detail)
        lines.append(f"| {' | '.join(inert_markdown(cell) for cell in cells)} |")
    lines.append("")
    for finding in (finding for finding in shortened(findings) if finding.changes):
        lines += [f"**{inert_markdown(finding.cell)}**", ""]
        lines += ["| score | before | now | margin | |", "|:--|--:|--:|--:|:--|"]
        lines += [f"| {' | '.join(_change_cells(change))} |" for change in finding.changes]
        lines.append("")
    if items.worst:
        lines += ["| worst items | before | now |", "|:--|:--|:--|"]
        for worst, (before, now) in zip(items.worst, items.speech, strict=True):
            name = inert_markdown(f"{worst.item}, {worst.cell}")
            then, transcribed = (
                _transcribed(worst.before, before, prefix),
                _transcribed(worst.now, now, prefix),
            )
            lines.append(f"| {name} | {then} | {transcribed} |")
    return "\n".join(lines) + "\n"


def _change_cells(change: Change) -> list[str]:
    margin = "-" if change.margin is None else f"{change.margin:.2f}"
    worse = "" if change.p is None else f"significantly worse, adjusted p {change.p_text}"
    numbers = (f"{change.before:.2f}", f"{change.now:.2f}", margin)
    return [inert_markdown(change.score), *numbers, worse]


def badge(verdict: Verdict) -> str:
    """Returns a badge in the format of shields.io's endpoint."""
    facts = {"schemaVersion": 1, "label": "pixvox gate", "message": verdict.name.lower()}
    return json.dumps(facts | {"color": _COLOURS[verdict]}) + "\n"
