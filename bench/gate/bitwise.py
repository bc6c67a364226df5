"""Compares outputs with a golden bit for bit: which items changed, and from which frame."""

from collections.abc import Sequence

import numpy as np

from bench.gate.golden import Golden
from bench.gate.verdicts import Finding, Verdict

_NAMED = 3
_FACTS = ("seconds", "silent", "ended", "values")


def exact(golden: Golden, head: Golden, items: Sequence[str]) -> list[Finding]:
    """Returns a finding for each cell: whether every item's outputs equal the golden's."""
    findings = []
    for cell in head.signatures:
        before, after = golden.cell(cell, items), head.cell(cell, items)
        if before["item"].to_list() != after["item"].to_list():
            detail = f"{after.height} items, the golden has {before.height} of them"
            findings.append(
                Finding(cell=cell, what="coverage", verdict=Verdict.REGRESSED, detail=detail)
            )
            continue
        pairs = zip(before.iter_rows(named=True), after.iter_rows(named=True), strict=True)
        changed = [text for a, b in pairs if (text := _changed(a, b))]
        verdict = Verdict.REGRESSED if changed else Verdict.PASS
        detail = "; ".join([f"{len(changed)} of {len(items)} items changed", *changed[:_NAMED]])
        findings.append(Finding(cell=cell, what="bit for bit", verdict=verdict, detail=detail))
    return findings


def _changed(before: dict[str, object], after: dict[str, object]) -> str:
    """Returns how an item changed, "" if it did not."""
    item = after["item"]
    if before["units"] != after["units"]:
        was, now = (_units(row) for row in (before, after))
        frames = min(was.shape[1], now.shape[1])
        if was.shape[0] != now.shape[0]:
            return f"{item}: {now.shape[0]} codebooks, were {was.shape[0]}"
        differ = np.flatnonzero((was[:, :frames] != now[:, :frames]).any(0))
        first = int(differ[0]) if differ.size else frames
        return f"{item}: first differing frame {first}"
    if before["transcript"] != after["transcript"] or before["status"] != after["status"]:
        return f"{item}: the same units, another transcript"
    facts = [name for name in _FACTS if before[name] != after[name]]
    if facts:
        return f"{item}: the same transcript, but other {', '.join(facts)}"
    return ""


def _units(row: dict[str, object]) -> "np.ndarray[tuple[int, ...], np.dtype[np.int16]]":
    data, codebooks = row["units"] or b"", row["codebooks"] or 1
    assert isinstance(data, bytes)
    assert isinstance(codebooks, int)
    return np.frombuffer(data, dtype=np.int16).reshape(max(codebooks, 1), -1)
