"""Which rows may stand beside which: ✓ the same protocol, ≈ nearly, ✗ not, each with a reason.

A row that measured nothing has no grade at all, which is `-`.
"""

from dataclasses import dataclass

from bench.scoring.signature import NEAR, NONE, OTHER, POLICIES, SAME, Signature
from bench.tables.published import PublishedRow


@dataclass(frozen=True)
class Grade:
    """How far a row compares with a table's protocol, and why not further."""

    mark: str
    reason: str = ""


def grade_published(
    row: PublishedRow, dataset: str, asr: str, partly: str = "", references: str = "all"
) -> Grade:
    """A paper's row beside measured ones: never the same, as no paper states its protocol.

    `partly` says on what was measured, where that is not a whole official test split; `references`
    are what measured rows were scored against.
    """
    if row.dataset != dataset:
        return Grade(OTHER, f"on {row.dataset}, not {dataset}")
    if partly:
        return Grade(OTHER, f"on the whole test split, not on {partly}")
    if references != "all":
        # No paper says that it leaves one out, and five references score more than four.
        return Grade(OTHER, "scored against all references as far as is known, here without one")
    reasons = []
    if row.asr != asr:
        reasons.append(f"ASR: {row.asr}")
    reasons.append("normaliser and tokeniser not stated")
    return Grade(NEAR, "; ".join(reasons))


def grade_measured(one: Signature, other: Signature) -> Grade:
    """A measured row beside another: what differs decides whether they may be ranked."""
    for mark in (OTHER, NEAR):
        for name, policy in POLICIES.items():
            here, there = getattr(one, name), getattr(other, name)
            if policy.mark == mark and here != there:
                return Grade(mark, f"{policy.meaning}: {here}, not {there}")
    return Grade(SAME)


def grade_outcome(asked: int, failed: int, lost: int, bound: bool) -> Grade:
    """A row's own grade, whatever stands beside it: of `asked` items some failed.

    What a system fails at counts as an empty transcript, so its grade stands as long as anything
    was transcribed. A `bound`, a ceiling or floor, needs every item. `lost` are those failures
    that are the machine's.
    """
    if failed >= asked:
        return Grade(NONE, f"nothing was transcribed, {failed} of {asked} items failed")
    if failed and bound:
        return Grade(NONE, f"a ceiling or floor needs every item, {failed} of {asked} failed")
    if lost:
        return Grade(NEAR, f"{lost} of {asked} items lost to processes that died; run it again")
    return Grade(SAME)
