"""A gate's findings where a CI's users look: JUnit, annotations, a comment, a badge."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

from bench.common.text import clean, inert_markdown
from bench.gate.failure import escaped, tell_github, write, xml
from bench.gate.verdicts import SCORES, Change, Finding, Verdict, overall
from bench.gate.worst import Worst

_COLOURS = {Verdict.PASS: "brightgreen", Verdict.INCONCLUSIVE: "yellow", Verdict.REGRESSED: "red"}
LINE = 100
"""Characters of a printed line at most, where the terminal is not narrower."""
_VERDICT = max(len(verdict.name) for verdict in Verdict) + 2
_LEVELS = {Verdict.INCONCLUSIVE: "warning", Verdict.REGRESSED: "error"}


def junit(findings: Sequence[Finding]) -> str:
    """JUnit XML: a test case a finding; what is inconclusive is skipped, not passed."""
    suite = ElementTree.Element(
        "testsuite",
        name="pixvox gate",
        tests=str(len(findings)),
        failures=str(sum(f.verdict == Verdict.REGRESSED for f in findings)),
        skipped=str(sum(f.verdict == Verdict.INCONCLUSIVE for f in findings)),
    )
    for found in findings:
        case = ElementTree.SubElement(
            suite, "testcase", classname=clean(found.cell), name=clean(found.what)
        )
        if found.verdict != Verdict.PASS:
            tag = "failure" if found.verdict == Verdict.REGRESSED else "skipped"
            ElementTree.SubElement(case, tag, message=clean(found.detail))
    return xml(suite)


def annotations(findings: Sequence[Finding]) -> list[str]:
    """GitHub workflow commands for all that did not pass."""
    return [
        f"::{_LEVELS[f.verdict]} title={escaped(f'{f.cell}: {f.what}', ':,')}"
        f"::{escaped(f'{f.verdict.name}: {f.detail}')}"
        for f in findings
        if f.verdict != Verdict.PASS
    ]


def shortened(findings: Sequence[Finding]) -> list[Finding]:
    """What did not pass, worst first, and a line for all that did of every cell.

    A cell's scores are with the first of its lines.
    """
    rows = sorted((f for f in findings if f.verdict != Verdict.PASS), key=lambda f: -f.verdict)
    for cell in dict.fromkeys(found.cell for found in findings):
        checks = [found for found in findings if found.cell == cell]
        passed = sum(found.verdict == Verdict.PASS for found in checks)
        if passed:
            rows.append(Finding(cell, f"{passed} of {len(checks)} checks", Verdict.PASS, ""))
    changes = {found.cell: found.changes for found in findings if found.what == SCORES}
    return [replace(found, changes=changes.pop(found.cell, ())) for found in rows]


def _transcribed(text: str, name: str, links: str) -> str:
    """A transcript, and where its speech is, if it is."""
    shown = inert_markdown(text or "(nothing)")
    return f"{shown} ([listen]({links}{name}))" if name else shown


@dataclass(frozen=True)
class Shown:
    """The worst items, the names of each one's two files, and the address before those."""

    worst: Sequence[Worst] = ()
    speech: Sequence[tuple[str, str]] = ()
    links: str = ""


def comment(findings: Sequence[Finding], items: Shown, note: str) -> str:
    """A pull request's comment in Markdown; nothing that was transcribed is live in it."""
    links = items.links
    prefix = f"{quote(links.rstrip('/'), safe=':/?&=%~+,@')}/" if links else ""
    lines = [f"## pixvox gate: {overall(findings).name}", "", inert_markdown(note), ""]
    lines += ["| | cell | what | |", "|:--|:--|:--|:--|"]
    for found in shortened(findings):
        cells = (found.verdict.name, found.cell, found.what, found.detail)
        lines.append(f"| {' | '.join(inert_markdown(cell) for cell in cells)} |")
    lines.append("")
    for found in (found for found in shortened(findings) if found.changes):
        lines += [f"**{inert_markdown(found.cell)}**", ""]
        lines += ["| score | before | now | margin | |", "|:--|--:|--:|--:|:--|"]
        lines += [f"| {' | '.join(_change_cells(one))} |" for one in found.changes]
        lines.append("")
    if items.worst:
        lines += ["| worst items | before | now |", "|:--|:--|:--|"]
        for one, (before, now) in zip(items.worst, items.speech, strict=True):
            name = inert_markdown(f"{one.item}, {one.cell}")
            then, transcribed = (
                _transcribed(one.before, before, prefix),
                _transcribed(one.now, now, prefix),
            )
            lines.append(f"| {name} | {then} | {transcribed} |")
    return "\n".join(lines) + "\n"


def _change_cells(change: Change) -> list[str]:
    margin = "-" if change.margin is None else f"{change.margin:.2f}"
    worse = "" if change.p is None else f"significantly worse, adjusted p {change.p_text}"
    numbers = (f"{change.before:.2f}", f"{change.now:.2f}", margin)
    return [inert_markdown(change.score), *numbers, worse]


def badge(verdict: Verdict) -> str:
    """A badge as shields.io's endpoint reads it."""
    facts = {"schemaVersion": 1, "label": "pixvox gate", "message": verdict.name.lower()}
    return json.dumps(facts | {"color": _COLOURS[verdict]}) + "\n"


def publish(findings: Sequence[Finding], items: Shown, note: str, folder: Path | None) -> None:
    """Prints what was found, tells GitHub if it runs this, writes files if there is a folder."""
    text = comment(findings, items, note)
    _tell(findings)
    tell_github(annotations(findings), text)
    if folder is not None:
        write(folder, junit(findings), text, badge(overall(findings)))


def _tell(findings: Sequence[Finding]) -> None:
    """Prints a verdict a line, and below it each score before and now."""
    from rich.text import Text

    from bench.report.fit import wrapped
    from bench.report.terminal import make_console

    console = make_console()
    width = min(console.width, LINE)
    for found in shortened(findings):
        detail = f": {found.detail}" if found.detail else ""
        text = clean(f"{found.cell}: {found.what}{detail}")
        name = f"{found.verdict.name:{_VERDICT}}"
        for line in wrapped(text, width - _VERDICT):
            console.print(Text(name + line))
            name = " " * _VERDICT
        widest = max((len(change.score) for change in found.changes), default=0)
        for change in found.changes:
            start = f"{' ' * (_VERDICT + 2)}{change.score:{widest}}  "
            first, *rest = wrapped(change.words, max(width - len(start), _VERDICT))
            for line in (start + first, *(" " * len(start) + more for more in rest)):
                console.print(Text(line))
