"""What stands under a table: numbered notes, one fact each, the same in every format.

A fact that holds for all rows of a block is one note of that block; one of fewer rows begins with
their names.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import polars as pl

from bench.common.text import clean
from bench.metrics.shipped import METRICS, scores_of
from bench.report.text import columns, is_score, score
from bench.scoring.signature import NEAR, NONE, OTHER, SAME
from bench.systems.base import Role
from bench.tables.pooling import CONTINUATION
from bench.tables.protocol import Protocol
from bench.tables.published import IMAGES, load_noise, not_told_apart

READING, MEASURED, PUBLISHED, ROWS = (
    "Reading the table",
    "Measured rows",
    "Published rows",
    "By row",
)
"""The groups of notes, in order."""
LONGEST = 200
"""Characters of a note: two lines of 100."""
_REFERENCES = {
    "others": (
        "The references are all captions of an image except one, which the ceilings say and which "
        "supplies the prompts."
    ),
    "all": (
        "The references are all captions of an image, with the one that supplies the prompts, so a "
        "system that repeats the prompt gains score."
    ),
}
_LEFT_OUT = {"rotating": "Which caption is left out rotates from image to image."}
_PERCENT = "percent"
_CONTINUATION = (
    "Rows called continuation only compare what follows the prompt with whole references; a longer "
    "prompt alone lowers their BLEU and recall."
)


@dataclass(frozen=True)
class Note:
    """One fact in at most LONGEST characters, and the group that it belongs to."""

    group: str
    text: str


def grouped(notes: Iterable[Note], first: int = 1) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Every group of notes with its numbered texts; the first note has the number `first`."""
    numbered = enumerate(notes, first)
    for group, members in groupby(numbered, key=lambda pair: pair[1].group):
        yield group, [(number, note.text) for number, note in members]


def notes(
    frame: pl.DataFrame, table: str, protocol: Protocol, left_out: Collection[str] = ()
) -> list[Note]:
    """All notes of a table, in order, but those on the columns, and on `±`, that it leaves out."""
    shown = [name for name in columns(frame, table) if name not in left_out]
    halves = "±" not in left_out
    published = frame.filter(block="published")
    texts = {
        READING: _reading(frame, shown, protocol, halves),
        MEASURED: [*_measured(frame, protocol), *_shared(frame, "measured")],
        PUBLISHED: [*_published(published, halves), *_shared(frame, "published")],
        ROWS: [*_single(frame, "published"), *_single(frame, "measured")],
    }
    return [Note(group, _cut(text)) for group, some in texts.items() for text in some]


def _cut(text: str) -> str:
    """A text of others may be longer; the table's files have all of it."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _listed(start: str, names: Sequence[str], end: str, parting: str = "; ") -> Iterator[str]:
    """Names between a sentence's start and end, as several sentences where one is too long."""
    some: list[str] = []
    for name in names:
        if some and len(start) + len(parting.join([*some, name])) + len(end) > LONGEST:
            yield f"{start}{parting.join(some)}{end}"
            some = []
        some.append(name)
    if some:
        yield f"{start}{parting.join(some)}{end}"


def _reading(
    frame: pl.DataFrame, shown: Sequence[str], protocol: Protocol, halves: bool
) -> Iterator[str]:
    """What columns, marks and signs say."""
    yield from _legend(frame, shown, protocol)
    if halves:
        yield from _intervals(frame, shown, protocol)
    yield from _grades(frame)
    yield from _against(frame)
    if frame["best"].list.len().fill_null(0).sum():
        several = frame.filter(block="measured")["prompt"].n_unique() > 1
        share = " of a prompt share" if several else ""
        yield (
            f"Bold marks, among rows with ✓, the best score{share} and those not told apart from "
            "it at 5% (the same tests of all pairs)."
        )
    yield from _alike(frame, shown)
    yield from _bounds(frame)


def _legend(frame: pl.DataFrame, shown: Sequence[str], protocol: Protocol) -> Iterator[str]:
    """What the columns are called in full."""
    scores = [one for one in scores_of(METRICS) if one.head in shown]
    named = [f"{one.head} is {one.name}" for one in scores if one.name != one.head]
    own = [entry for entry in protocol.legend if entry[0] in shown]
    named += [
        f"{head} is {clean(name)}" + ("" if unit == _PERCENT else f" in {clean(unit)}")
        for head, name, unit in own
    ]
    yield from _listed("", named, ".", ", ")
    above = [one.head for one in scores if one.most > 100]
    unbounded = f"; {_spoken(above)} may exceed 100" if above else ""
    units = any(unit != _PERCENT for _, _, unit in own)
    yield f"Scores are in percent{' where no other unit is named' if units else ''}{unbounded}."
    lower = [one.head for one in scores if one.lower_is_better]
    if lower:
        only = "only systems that say a reference caption have it"
        yield f"{_spoken(lower)}: lower is better; {only}."
    yield "n counts items over all seeds; failed items are included and score as empty transcripts."
    if "training" in shown:
        yield (
            "The column training says whether one model makes speech of the image, several do, or "
            "a text stands in between."
        )
    if any(row[name] is None for row in frame.to_dicts() for name in shown):
        yield "A dash stands for what a paper does not print or a row does not have."


def _spoken(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _intervals(frame: pl.DataFrame, shown: Sequence[str], protocol: Protocol) -> Iterator[str]:
    rows = frame.filter(block="measured").to_dicts()
    signs = {score(row, name)[1][:1] for row in rows for name in shown if is_score(row, name)}
    of = f"the {protocol.confidence:.0%} bootstrap interval over images"
    if "±" in signs:
        yield f"± is half of {of}."
    if "[" in signs:
        which = "that interval" if "±" in signs else of
        yield f"[low, high] are the ends of {which}, where ± would mislead."


def _grades(frame: pl.DataFrame) -> Iterator[str]:
    """What the marks of the first column say, of those that are there."""
    marks, roles = set(frame["grade"]), set(frame["training"])
    first = "the first system"
    if roles & {Role.CEILING.value, Role.FLOOR.value}:
        first += " that is neither ceiling nor floor"
    if SAME in marks:
        yield f"✓ marks rows with the protocol of {first}; only these are ranked."
    if NEAR in marks:
        yield "≈ marks rows whose protocol differs in what may move scores; they are not ranked."
    if OTHER in marks:
        yield (
            "✗ marks rows of other images, references or parts of the speech; do not compare their "
            "scores."
        )
    if NONE in marks:
        yield "- in the first column marks rows without a score to compare."


def _against(frame: pl.DataFrame) -> Iterator[str]:
    """What a star says, and against which rows."""
    bases = frame.filter(pl.col("base").fill_null("") != "")
    if bases.is_empty():
        return
    named = [clean(base) for base in bases["base"].unique(maintain_order=True)]
    names = named[0] if len(named) == 1 else "the first row with its prompt share and protocol"
    tests = "at 5% (paired permutation tests, adjusted for all rows and scores)."
    if frame["significant"].list.len().fill_null(0).sum():
        yield f"* marks a score that differs from that of {names} {tests}"
    else:
        yield f"No score differs from that of {names} {tests}"


def _alike(frame: pl.DataFrame, shown: Sequence[str]) -> Iterator[str]:
    """How many images cannot tell the systems of a prompt share apart, and by which scores."""
    competing = frame.filter(
        pl.col("block") == "measured",
        pl.col("grade") == SAME,
        pl.col("training").is_in([Role.CEILING.value, Role.FLOOR.value]).not_(),
    )
    for (prompt,), rows in competing.group_by("prompt", maintain_order=True):
        marked = {name for names in rows["best"].drop_nulls() for name in names}
        names = [
            name
            for name in shown
            if name not in marked and is_score(rows.row(0, named=True), name)
            if rows[name].is_not_null().all()
        ]
        if rows.height > 1 and names:
            images = min(row["n"] // max(row["seeds"], 1) for row in rows.to_dicts())
            said = ", ".join(names)
            yield f"With {images} images no system differs significantly{_at(prompt)} in {said}."


def _bounds(frame: pl.DataFrame) -> Iterator[str]:
    """Which rows only bound what can be reached."""
    for role, plural, side in (
        (Role.CEILING, "Ceilings", "above"),
        (Role.FLOOR, "Floors", "below"),
    ):
        names = frame.filter(pl.col("training") == role)["system"].unique(maintain_order=True)
        bound = f"{plural} bound scores from {side} and are neither ranked nor tested: "
        yield from _listed(bound, [clean(name) for name in names], ".")


def _measured(frame: pl.DataFrame, protocol: Protocol) -> Iterator[str]:
    """What all measured rows stand on."""
    yield f"The rows score {clean(protocol.images)}, data digest {protocol.dataset_digest}."
    if protocol.unusable:
        entries = "1 entry" if protocol.unusable == 1 else f"{protocol.unusable} entries"
        yield f"{entries} of the split cannot be scored."
    if protocol.speech == "none":
        yield "The dataset has no recorded speech."
    else:
        yield f"The recorded speech is {protocol.speech}."
    yield "No ASR is used." if protocol.asr == "none" else f"The ASR is {protocol.asr}."
    yield _REFERENCES[protocol.references]
    if protocol.left_out in _LEFT_OUT:
        yield _LEFT_OUT[protocol.left_out]
    named = protocol.normaliser
    yield "No normaliser is used." if named == "none" else f"The normaliser is {named}."
    if frame["system"].str.ends_with(CONTINUATION).any():
        yield _CONTINUATION


def _published(published: pl.DataFrame, halves: bool) -> Iterator[str]:
    """What all published rows share, and which of them their number of images cannot tell apart."""
    if published.is_empty():
        return
    if halves and any(row[n] for row in published.to_dicts() for n in row if n.endswith("_low")):
        yield (
            f"± of published rows is what {IMAGES} images imply (simulated by pixvox perf "
            "published); their papers state none."
        )
    same = not_told_apart(published, load_noise())
    yield from _listed(f"{IMAGES} images cannot tell these published rows apart: ", same, ".")


def _at(prompt: float) -> str:
    return f" at {prompt:.0%}" if prompt else ""


def _facts(row: dict[str, Any]) -> list[str]:
    """What is known of one row alone."""
    source = f"The source is {row['source']}." if row["block"] == "published" else ""
    # The label of a continuation says already what its grade's reason is.
    is_part = row["grade"] == OTHER and row["system"].endswith(CONTINUATION)
    reason = "" if is_part else row["reason"] or ""
    lines = (source, *reason.split("\n"), *(row["note"] or "").split("\n"))
    return [clean(line) for line in lines if line]


def _rows_of(frame: pl.DataFrame, block: str) -> tuple[dict[str, list[str]], int]:
    """Every fact of a block's rows with the names of these rows, and how many rows there are."""
    rows = frame.filter(block=block).to_dicts()
    found: dict[str, list[str]] = {}
    for row in rows:
        for fact in dict.fromkeys(_facts(row)):
            found.setdefault(fact, []).append(f"{clean(row['system'])}{_at(row['prompt'])}")
    return found, len(rows)


def _shared(frame: pl.DataFrame, block: str) -> list[str]:
    found, count = _rows_of(frame, block)
    return [fact for fact, names in found.items() if len(names) == count > 1]


def _single(frame: pl.DataFrame, block: str) -> Iterator[str]:
    """Facts of some rows, those of the same rows together."""
    found, count = _rows_of(frame, block)
    some = [(names, fact) for fact, names in found.items() if len(names) < count or count == 1]
    order = list(dict.fromkeys(tuple(names) for names, _ in some))
    for names, fact in sorted(some, key=lambda pair: order.index(tuple(pair[0]))):
        yield from _listed("", names, f": {fact}")
