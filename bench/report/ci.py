"""A gate's findings where a CI's users look: JUnit, annotations, a comment, a badge."""

import json
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import polars as pl

from bench.golden import Golden
from bench.regression import Finding, Verdict, overall
from bench.report.files import inert_markdown
from bench.report.text import clean

_COLOURS = {Verdict.PASS: "brightgreen", Verdict.INCONCLUSIVE: "yellow", Verdict.REGRESSED: "red"}
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
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _escaped(text: str, more: str = "") -> str:
    """As GitHub's workflow commands want it: nothing in a message can begin another command."""
    for char in "%\r\n" + more:
        text = text.replace(char, f"%{ord(char):02X}")
    return text


def annotations(findings: Sequence[Finding]) -> list[str]:
    """GitHub workflow commands for all that did not pass."""
    return [
        f"::{_LEVELS[f.verdict]} title={_escaped(f'{f.cell}: {f.what}', ':,')}"
        f"::{_escaped(f'{f.verdict.name}: {f.detail}')}"
        for f in findings
        if f.verdict != Verdict.PASS
    ]


def worst_items(golden: Golden, head: Golden, count: int = 3) -> list[tuple[str, str, str, str]]:
    """Items whose own CIDEr fell most: cell, item, what was heard before, and now."""
    from bench.golden import matrix
    from bench.metrics.corpus import scores

    fallen: list[tuple[float, str, str, str, str]] = []
    for cell in head.signatures:
        items = head.rows.filter(cell=cell)["item"].to_list()
        before, after = golden.cell(cell, items), head.cell(cell, items)
        both = before.join(after, on="item", suffix="_now")
        if both.is_empty():
            continue
        own = scores(matrix(both))["CIDEr"]
        now = scores(matrix(both.select(values=pl.col("values_now"))))["CIDEr"]
        names = both.select("item", "transcript", "transcript_now").iter_rows()
        for was, becomes, (item, then, heard) in zip(own, now, names, strict=True):
            if becomes < was:
                fallen.append((float(becomes - was), cell, item, then or "", heard or ""))
    return [(cell, item, then, now) for _, cell, item, then, now in sorted(fallen)[:count]]


def comment(
    findings: Sequence[Finding], worst: Sequence[tuple[str, str, str, str]], note: str
) -> str:
    """A pull request's comment in Markdown; nothing that was heard is live in it."""
    verdict = overall(findings)
    lines = [f"## pixvox gate: {verdict.name}", "", inert_markdown(note), ""]
    lines += ["| | cell | what | |", "|:--|:--|:--|:--|"]
    shown = [f for f in findings if f.verdict != Verdict.PASS] or list(findings)[:8]
    for found in shown:
        cells = (found.verdict.name, found.cell, found.what, found.detail)
        lines.append(f"| {' | '.join(inert_markdown(cell) for cell in cells)} |")
    passed = sum(f.verdict == Verdict.PASS for f in findings)
    lines += ["", f"{passed} of {len(findings)} checks pass.", ""]
    if worst:
        lines += ["| worst items | before | now |", "|:--|:--|:--|"]
        for cell, item, before, now in worst:
            texts = (f"{item}, {cell}", before or "(nothing)", now or "(nothing)")
            lines.append(f"| {' | '.join(inert_markdown(text) for text in texts)} |")
    return "\n".join(lines) + "\n"


def badge(verdict: Verdict) -> str:
    """A badge as shields.io's endpoint reads it."""
    facts = {"schemaVersion": 1, "label": "pixvox gate", "message": verdict.name.lower()}
    return json.dumps(facts | {"color": _COLOURS[verdict]}) + "\n"


def write_ci(
    findings: Sequence[Finding], golden: Golden, head: Golden, note: str, folder: Path
) -> None:
    """Writes `junit.xml`, `comment.md` and `badge.json` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "junit.xml").write_text(junit(findings), encoding="utf-8")
    text = comment(findings, worst_items(golden, head), note)
    (folder / "comment.md").write_text(text, encoding="utf-8")
    (folder / "badge.json").write_text(badge(overall(findings)), encoding="utf-8")
