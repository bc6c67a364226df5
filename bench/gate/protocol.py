"""Whether a golden can judge a job at all, said in words before anything runs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches

from bench.gate.golden import Golden
from bench.scoring.signature import POLICIES, Signature, differing

_SEED = re.compile(r", seed \d+")


def groups(cells: Sequence[str]) -> dict[str, list[str]]:
    """Cells that differ only in their seed, under the name that they share."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        found.setdefault(group_of(cell), []).append(cell)
    return found


def group_of(cell: str) -> str:
    """A cell's name without its seed."""
    return _SEED.sub("", cell)


def _other_cells(golden: Sequence[str], here: Sequence[str]) -> str:
    """In what the cells of a job and of its golden differ, in words."""
    lacking = [name for name in golden if name not in here]
    for name in (name for name in here if name not in golden):
        near = get_close_matches(name, lacking, 1, 0.6)
        if not near:
            return f"your job has a cell that the golden has not: {name}"
        mine, theirs = name.split(", "), near[0].split(", ")
        ours = ", ".join(part for part in mine if part not in theirs)
        other = ", ".join(part for part in theirs if part not in mine)
        return f"{mine[0]}: {ours or 'less'} in your job, {other or 'less'} in the golden"
    return f"the golden has a cell that your job has not: {lacking[0]}"


def other_protocol(golden: Mapping[str, Signature], here: Mapping[str, Signature]) -> str:
    """Why a golden cannot judge a job of these signatures, "" where it can."""
    known = groups(list(here))
    # A golden may have more seeds than the job that it judges.
    if here.keys() - golden.keys() or groups(list(golden)).keys() - known.keys():
        return _other_cells(list(golden), list(here))
    for name, one in here.items():
        ours, theirs = asdict(one), asdict(golden[name])
        field = differing(ours, theirs, "gate")
        if field is not None:
            return (
                f"{name}: {POLICIES[field].meaning}: {ours[field] or '-'} in your job, "
                f"{theirs[field] or '-'} in the golden; accept a new one if that is meant"
            )
    return ""


def incomparable(golden: Golden, head: Golden) -> str:
    """Why a golden cannot judge a run, "" where it can."""
    reason = other_protocol(golden.signatures, head.signatures)
    for name in head.signatures if not reason else ():
        if head.columns[name] != golden.columns[name]:
            return f"{name}: counted by other metrics than the golden's"
    return reason
