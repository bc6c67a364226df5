"""Grades how far rows are comparable: ✓ same protocol, ≈ similar, ✗ not, each with a reason.

A row without a measured score has the grade `-`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.datasets.base import SUBSET
from bench.scoring.signature import NEAR, NONE, OTHER, POLICIES, SAME, Signature
from bench.tables.protocol import Protocol
from bench.tables.published import PublishedRow


@dataclass(frozen=True)
class Grade:
    """How far a row is comparable with a table's protocol, and why not further.

    A reason is a line "topic: detail", or only a topic (see bench.report.notes).
    """

    mark: str
    reason: str = ""


def _doubts(row: PublishedRow, protocol: Protocol, asr: str) -> Iterator[Grade]:
    """Yields a grade for each fact about a published row that differs from the measured protocol.

    Other images or other references make scores incomparable (✗). The speech, the training data and
    the ASR of a published system are part of what it reports (≈, with the reason).
    """
    if row.dataset != protocol.dataset:
        yield Grade(OTHER, f"The images are those of {row.dataset}, not of {protocol.dataset}")
        return
    if protocol.partly:
        yield Grade(OTHER, _other_images(protocol))
    if protocol.references != "all":
        # No paper says that it leaves a caption out, and scores are higher with five references
        # than with four.
        yield Grade(
            OTHER,
            "✗: as far as is known, scores are against all references; here one is left out "
            "(a table against all references compares them)",
        )
    if row.asr_adapted:
        yield Grade(NEAR, f"ASR: {row.asr}")
    natural = {"natural": True, "synthetic": False}.get(protocol.speech.split(",")[0])
    if natural is not None and row.speech and natural != (row.speech == "natural"):
        yield Grade(NEAR, f"Trained on: {row.speech} speech")
    further = [name for name in row.training_data or () if name != row.dataset]
    if further:
        yield Grade(NEAR, f"Trained on: {row.dataset} and {', '.join(further)}")
    if row.asr is not None and row.asr != asr and not row.asr_adapted:
        yield Grade(NEAR, f"ASR: {row.asr}")
    if row.speech is None:
        yield Grade(NEAR, "Not stated: whether speech is natural or synthesised")
    if row.asr is None:
        yield Grade(NEAR, "Not stated: the ASR")
    facts = {"n": row.n, "seeds": row.seeds, "normaliser": None, "tokeniser": None}
    unknown = [name for name, value in facts.items() if value is None]
    yield Grade(NEAR, f"Not stated: {', '.join(unknown)}")


def _other_images(protocol: Protocol) -> str:
    if protocol.split == "test" and not set(protocol.standing) - {SUBSET}:
        return f"Published rows use all {protocol.of} test images; yours uses {protocol.items}"
    return f"Published rows use the whole test split; yours uses {protocol.images}"


def grade_published(row: PublishedRow, protocol: Protocol, asr: str) -> Grade:
    """Returns the grade of a published row; never ✓, because no paper states its whole protocol.

    Every fact has a grade; the worst is the row's, with the reasons of all facts that have it.
    """
    doubts = list(_doubts(row, protocol, asr))
    mark = OTHER if any(doubt.mark == OTHER for doubt in doubts) else NEAR
    return Grade(mark, "\n".join(doubt.reason for doubt in doubts if doubt.mark == mark))


def grade_measured(signature: Signature, other: Signature, whose: str = "") -> Grade:
    """Returns the grade of a measured row in comparison with another one.

    `whose` is the other's name in the reason; without it the reason is worded for a table.
    """
    for mark in (OTHER, NEAR):
        for name, policy in POLICIES.items():
            here, there = getattr(signature, name), getattr(other, name)
            if policy.mark == mark and here != there:
                reason = policy.sentence(here, there, whose) if whose else policy.remark(here)
                return Grade(mark, reason)
    return Grade(SAME)


def grade_outcome(asked: int, failed: int, lost: int, bound: bool) -> Grade:
    """Returns a row's own grade, from how many of its `asked` items failed.

    A failed item counts as an empty transcript, so the grade stands if any item was transcribed. A
    `bound`, a ceiling or floor, needs every item. `lost` are failures of the machine.
    """
    if failed >= asked:
        return Grade(NONE, f"Nothing was transcribed: {failed} of {asked} items failed")
    if failed and bound:
        return Grade(NONE, f"A ceiling or floor needs every item: {failed} of {asked} failed")
    if lost:
        lost_items = "Items lost to processes that died, so run the job again"
        return Grade(NEAR, f"{lost_items}: {lost} of {asked}")
    return Grade(SAME)
