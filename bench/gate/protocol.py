"""Checks, before anything runs, whether a golden can judge a job, and explains why not."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches

from bench.gate.golden import Golden
from bench.scoring.signature import POLICIES, Signature, differing
from bench.systems.decoding import usual_value

_DECODING = "A gate compares runs of one decoding; pixvox compare compares two decodings."
_SEED = re.compile(r", seed \d+")
_NEXT_PART = re.compile(r", (?![-\d.]+(?:,|$))")


def groups(cells: Sequence[str]) -> dict[str, list[str]]:
    """Returns the cells that differ only in their seed, by the name that they share."""
    cells_by_group: dict[str, list[str]] = {}
    for cell in cells:
        cells_by_group.setdefault(group_of(cell), []).append(cell)
    return cells_by_group


def group_of(cell: str) -> str:
    """Returns a cell's name without its seed."""
    return _SEED.sub("", cell)


def _other_cells(golden: Sequence[str], here: Sequence[str]) -> str:
    """Returns how the cells of a job and of its golden differ, in words."""
    lacking = [name for name in golden if name not in here]
    for name in (name for name in here if name not in golden):
        near = get_close_matches(name, lacking, 1, 0.6)
        if not near:
            return f"This job has the cell {name}, which the golden lacks."
        mine, theirs = _parts(name), _parts(near[0])
        ours = [part for part in mine if part not in theirs]
        other = [part for part in theirs if part not in mine]
        return f"{mine[0]}: {_differs(ours, other)}"
    return f"The golden has the cell {lacking[0]}, which this job lacks."


def _parts(name: str) -> list[str]:
    """Returns the parts of a cell's name; an axis's numbers, `guidance 2, 1, 1`, are one part."""
    return _NEXT_PART.split(name)


def _differs(ours: Sequence[str], other: Sequence[str]) -> str:
    """Returns a sentence on the parts that only one side has, such as `guidance 2`.

    A part that one side does not name has its default there.
    """
    known = {axis_of(part): part for part in (*ours, *other) if usual_value(axis_of(part))}
    if not known or len(known) < len({axis_of(part) for part in (*ours, *other)}):
        said = [f"{' and '.join(parts)}" if parts else "nothing" for parts in (ours, other)]
        return f"This job has {said[0]} where the golden has {said[1]}."
    sides = []
    for parts in (ours, other):
        has = {axis_of(part): part for part in parts}
        sides.append(" and ".join(has.get(axis, f"{axis} {usual_value(axis)}") for axis in known))
    return f"This job decodes with {sides[0]}; the golden was recorded with {sides[1]}. {_DECODING}"


def axis_of(part: str) -> str:
    """Returns the axis of a part of a cell's name: `guidance` of `guidance 2`."""
    return re.sub(r" [-\d.][^a-z]*$", "", part)


def _decoding(signed: str) -> list[str]:
    """Returns how a signature says that units are decoded, as parts of a cell's name."""
    pairs = (part.split("=", 1) for part in signed.split(",") if part)
    return [f"{axis.replace('_', ' ')} {value}" for axis, value in pairs]


def other_protocol(golden: Mapping[str, Signature], here: Mapping[str, Signature]) -> str:
    """Returns why a golden cannot judge a job with these signatures, "" if it can."""
    known = groups(list(here))
    # A golden may have more seeds than the job that it judges.
    if here.keys() - golden.keys() or groups(list(golden)).keys() - known.keys():
        return _other_cells(list(golden), list(here))
    for name, signature in here.items():
        ours, theirs = asdict(signature), asdict(golden[name])
        field = differing(ours, theirs, "gate")
        if field is not None:
            said = POLICIES[field].sentence(ours[field], theirs[field], "the golden")
            if field == "decoding":
                mine, other = _decoding(ours[field]), _decoding(theirs[field])
                said = _differs(
                    [part for part in mine if part not in other],
                    [part for part in other if part not in mine],
                )
            return f"{name}: {said} If this is intended, accept a new golden."
    return ""


def incomparable(golden: Golden, head: Golden) -> str:
    """Returns why a golden cannot judge a run, "" if it can."""
    reason = other_protocol(golden.signatures, head.signatures)
    for name in head.signatures if not reason else ():
        if head.columns[name] != golden.columns[name]:
            return f"{name}: The golden was scored by other metrics."
    return reason
