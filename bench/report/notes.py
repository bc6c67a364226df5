"""The notes below a table: numbered, each on one subject, the same in every format.

Remarks on single rows are lines of the frame's columns `reason` and `note`: "topic: detail", or
only a topic. Lines with the same topic become one note that names the rows of each detail.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import polars as pl

from bench.common.text import clean
from bench.metrics.base import Score
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
    "Single rows",
)
"""The groups of notes, in order."""
LONGEST = 200
"""The longest note in characters: two lines of 100."""
_REFERENCES = {
    "others": (
        "The references are all captions of an image except one, which ceilings say and prompts "
        "are cut from."
    ),
    "all": (
        "The references are all captions of an image, also the one that ceilings say and prompts "
        "are cut from. This raises ceilings and half of a caption, which is no floor here."
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
    """Sentences on one subject, in at most LONGEST characters, and the group of the note."""

    group: str
    sentences: tuple[str, ...]

    @property
    def text(self) -> str:
        """All sentences in one line."""
        return " ".join(self.sentences)


def grouped(notes: Iterable[Note], first: int = 1) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Yields each group of notes with its numbered texts; the first number is `first`."""
    numbered = enumerate(notes, first)
    for group, members in groupby(numbered, key=lambda pair: pair[1].group):
        yield group, [(number, note.text) for number, note in members]


def notes(
    frame: pl.DataFrame, table: str, protocol: Protocol, left_out: Collection[str] = ()
) -> list[Note]:
    """Returns all notes of a table, in order, without those on columns that are left out."""
    shown = [name for name in columns(frame, table) if name not in left_out]
    halves = "±" not in left_out
    said, partial = _of_rows(frame, "measured")
    texts: Mapping[str, Iterable[Sequence[str]]] = {
        READING: _reading(frame, shown, protocol, halves),
        MEASURED: [*_measured(frame, protocol), *zip(said)],
        PUBLISHED: zip(_published(frame)),
        ROWS: zip(partial),
    }
    return [
        Note(group, tuple(map(_cut, sentences)))
        for group, notes_of in texts.items()
        for sentences in notes_of
    ]


def _cut(text: str) -> str:
    """Returns a text cut to a note's length; the table's files have all of it."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _together(sentences: Iterable[str]) -> Iterator[list[str]]:
    """Yields sentences on one subject, as many in a note as fit."""
    together: list[str] = []
    for sentence in sentences:
        if together and len(" ".join([*together, sentence])) > LONGEST:
            yield together
            together = []
        together.append(sentence)
    if together:
        yield together


def _packed(parts: Iterable[str], *, start: str, parting: str = "; ", end: str = ".") -> list[str]:
    """Returns sentences that start with `start`, each with as many parts as fit into a note."""
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]}{parting}{part}" if lines else ""
        if lines and len(longer) + len(end) <= LONGEST:
            lines[-1] = longer
        else:
            lines.append(f"{start}{part}")
    return [f"{line}{end}" for line in lines]


def _reading(
    frame: pl.DataFrame, shown: Sequence[str], protocol: Protocol, halves: bool
) -> Iterator[Sequence[str]]:
    """Yields explanations of columns, marks and signs."""
    yield from _together(_legend(frame, shown, protocol))
    if halves:
        yield from _together(_intervals(frame, shown, protocol))
    yield from _together(_grades(frame))
    yield from _together(_tests(frame))
    yield from zip(_alike(frame, shown))


def _legend(frame: pl.DataFrame, shown: Sequence[str], protocol: Protocol) -> Iterator[str]:
    """Yields the full names of columns."""
    scores = [score for score in scores_of(METRICS) if score.head in shown]
    named = [score for score in scores if score.name != score.head]
    own = [entry for entry in protocol.legend if entry[0] in shown]
    has_units = any(unit != _PERCENT for _, _, unit in own)
    units = "in percent where no other unit is named" if has_units else "all in percent"
    yield f"{''.join(f'{text}, ' for text in _meanings(named))}{units}."
    meanings = (
        f"{head} is {clean(name)}" + ("" if unit == _PERCENT else f" in {clean(unit)}")
        for head, name, unit in own
    )
    yield from _packed(meanings, start="", parting=", ")
    above = [score.head for score in scores if score.most > 100 and not score.lower_is_better]
    if above:
        yield f"{_spoken(above)} may exceed 100."
    for error in scores:
        if error.lower_is_better:
            of = "of systems that say a reference caption, against it"
            yield f"{error.head}: {of}; lower is better, above 100 is possible."
    if frame["system"].str.contains(r", \d+ seeds?\b").any():
        yield "N seeds after a name: the system draws at random, and N runs of it are pooled."
    yield "n counts items over all seeds; failed items are included and score as empty transcripts."
    if any(row[name] is None for row in frame.to_dicts() for name in shown):
        yield "Dash: not printed by the paper, or not applicable."
    if "training" in shown:
        yield (
            "Column training: one model makes speech of the image, multiple models do, text is in "
            "between, or recordings of training images are played (retrieval)."
        )
    bounds: list[str] = []
    for role in (Role.CEILING, Role.FLOOR):
        names = frame.filter(pl.col("training") == role)["system"].unique(maintain_order=True)
        # If the column training is shown, it says which rows they are.
        listed = "" if "training" in shown else f" ({'; '.join(map(clean, names))})"
        bounds += [f"{role.value}s{listed}"] if names.len() else []
    if bounds:
        yield f"Bounds, neither ranked nor tested: {_spoken(bounds)}."


def _meanings(scores: Sequence[Score]) -> Iterator[str]:
    """Yields the meanings of headings; one for consecutive numbers, such as B1 to B4."""
    runs: list[list[Score]] = []
    for named in scores:
        if runs and _next(runs[-1][-1].head) == named.head:
            runs[-1].append(named)
        else:
            runs.append([named])
    for first, *rest in runs:
        if rest:
            yield f"{first.head} to {rest[-1].head} are {first.name} to {rest[-1].name}"
        else:
            yield f"{first.head} is {first.name}"


def _next(head: str) -> str:
    """Returns the heading with the next number: `B2` for `B1`; "" without a number."""
    stem = head.rstrip("0123456789")
    return f"{stem}{int(head[len(stem) :]) + 1}" if stem != head else ""


def _spoken(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _intervals(frame: pl.DataFrame, shown: Sequence[str], protocol: Protocol) -> Iterator[str]:
    """Yields the meaning of intervals, in measured and in published rows."""
    rows = frame.filter(block="measured").to_dicts()
    signs = {score(row, name)[1][:1] for row in rows for name in shown if is_score(row, name)}
    of = f"the {protocol.confidence:.0%} bootstrap interval over images"
    if "±" in signs:
        ends = "; [low, high] are its ends where it is asymmetric" if "[" in signs else ""
        yield f"± is half of {of}{ends}."
    elif "[" in signs:
        yield f"[low, high] are the ends of {of}."
    published = frame.filter(block="published").to_dicts()
    if any(row[name] for row in published for name in row if name.endswith("_low")):
        how = "simulated: docs/comparison.md"
        yield f"± of published rows is what {IMAGES} images imply ({how})."


def _grades(frame: pl.DataFrame) -> Iterator[str]:
    """Yields the meaning of each mark that the first column has."""
    marks = set(frame["grade"])
    if SAME in marks:
        bounds = pl.col("training").is_in([Role.CEILING.value, Role.FLOOR.value])
        same = frame.filter(pl.col("grade") == SAME, bounds.not_())
        of = f" of {clean(same['system'][0])}" if same.height else ""
        yield (
            f"✓ marks rows with the images, references, ASR and normaliser{of}. Only these are "
            "ranked."
        )
    if NEAR in marks:
        yield (
            "≈ marks rows whose protocol differs, or is not stated, in something that may move "
            "scores; the notes on rows say in what. Compare them with caution."
        )
    if OTHER in marks:
        yield (
            "✗ marks rows with other images, references or part of the speech; do not compare them "
            "with ✓ or ≈."
        )
    if NONE in marks:
        yield "- in the first column marks rows without a score to compare."


def _tests(frame: pl.DataFrame) -> Iterator[str]:
    """Yields the meaning of a star, the rows that are compared, and the meaning of bold type."""
    tests = "(paired permutation tests at 5%, adjusted for all rows and scores)"
    bases = frame.filter(pl.col("base").fill_null("") != "")
    if not bases.is_empty():
        named = [clean(base) for base in bases["base"].unique(maintain_order=True)]
        names = named[0] if len(named) == 1 else "the first row with its prompt share and protocol"
        if frame["significant"].list.len().fill_null(0).sum():
            yield f"* differs, up or down, from {names} {tests}."
        else:
            yield f"No score differs from that of {names} {tests}."
    if frame["best"].list.len().fill_null(0).sum():
        several = frame.filter(block="measured")["prompt"].n_unique() > 1
        share = " of a prompt share" if several else ""
        yield (
            f"Bold: the best{share} of the ranked rows, and those that paired tests do not tell "
            "apart from it."
        )


def _alike(frame: pl.DataFrame, shown: Sequence[str]) -> Iterator[str]:
    """Yields which systems of a prompt share do not differ significantly, and in which scores."""
    competing = frame.filter(
        pl.col("block") == "measured",
        pl.col("grade") == SAME,
        pl.col("training").is_in([Role.CEILING.value, Role.FLOOR.value]).not_(),
    )
    alike: dict[int, list[str]] = {}
    for (prompt,), rows in competing.group_by("prompt", maintain_order=True):
        # Stars are tested in a smaller family, so there may be a star although no pair differs.
        marks = (*rows["best"].drop_nulls(), *rows["significant"].drop_nulls())
        marked = {name for names in marks for name in names}
        names = [
            name
            for name in shown
            if name not in marked and is_score(rows.row(0, named=True), name)
            if rows[name].is_not_null().all()
        ]
        if rows.height > 1 and names:
            images = min(row["n"] // max(row["seeds"], 1) for row in rows.to_dicts())
            alike.setdefault(images, []).append(f"{', '.join(names)}{_at(prompt)}")
    for images, parts in alike.items():
        start = f"With {images} images no system differs significantly in "
        yield from _packed(parts, start=start)


def _measured(frame: pl.DataFrame, protocol: Protocol) -> Iterator[Sequence[str]]:
    """Yields the protocol that all measured rows share."""
    yield from _together(_standing(protocol))
    rotates = [_LEFT_OUT[protocol.left_out]] if protocol.left_out in _LEFT_OUT else []
    yield from _together([_REFERENCES[protocol.references], *rotates])
    if frame["system"].str.ends_with(CONTINUATION).any():
        yield [_CONTINUATION]


def _standing(protocol: Protocol) -> Iterator[str]:
    yield f"Data: {clean(protocol.images)} (digest {protocol.dataset_digest})."
    if protocol.unusable:
        entries = "1 entry" if protocol.unusable == 1 else f"{protocol.unusable} entries"
        yield f"{entries} of the split cannot be scored."
    yield f"The dataset's speech: {protocol.speech}."
    yield f"ASR: {protocol.asr}."
    yield f"Text normaliser: {protocol.normaliser}."


def _published(frame: pl.DataFrame) -> Iterator[str]:
    """Yields facts about published rows, and pairs that their number of images does not resolve."""
    same = not_told_apart(frame, load_noise())
    start = f"Differences that {IMAGES} images do not resolve (simulated): "
    yield from _packed(same, start=start)
    for lines in _of_rows(frame, "published"):
        yield from lines


def _at(prompt: float) -> str:
    return f" at {prompt:.0%}" if prompt else ""


def _at_all(prompts: Sequence[float]) -> str:
    return f" at {_spoken([f'{prompt:.0%}' for prompt in prompts])}"


def _lines(row: dict[str, Any]) -> list[str]:
    """Returns the remarks on one row."""
    source = f"Source: {row['source']}" if row["block"] == "published" else ""
    # The label of a continuation already states the reason of its grade.
    is_part = row["grade"] == OTHER and row["system"].endswith(CONTINUATION)
    reason = "" if is_part else row["reason"] or ""
    lines = (source, *reason.split("\n"), *(row["note"] or "").split("\n"))
    return list(dict.fromkeys(clean(line) for line in lines if line))


def _of_rows(frame: pl.DataFrame, block: str) -> tuple[list[str], list[str]]:
    """Returns remarks that all rows of a block have, and notes on remarks that some rows have."""
    rows = frame.filter(block=block).to_dicts()
    places: dict[str, dict[str, list[int]]] = {}
    for place, row in enumerate(rows):
        for line in _lines(row):
            topic, _, detail = line.partition(": ")
            places.setdefault(topic, {}).setdefault(detail, []).append(place)
    whole: list[str] = []
    partial: list[str] = []
    for topic, details in places.items():
        is_whole = all(len(at) == len(rows) > 1 for at in details.values())
        (whole if is_whole else partial).extend(_on_topic(topic, details, rows))
    return whole, partial


def _on_topic(
    topic: str, details: Mapping[str, Sequence[int]], rows: Sequence[dict[str, Any]]
) -> list[str]:
    """Returns notes on one topic: every detail with the names of its rows."""
    parts = []
    for detail, places in details.items():
        names = _names(places, rows)
        if not names and len(details) == 1:
            parts.append(detail)
        elif not detail:
            parts += names
        else:
            room = LONGEST - len(f"{topic}: {detail} ().")
            parts += [f"{detail} ({text})" for text in _split(names or ["all rows"], room)]
    if parts == [""]:
        return [f"{topic}."]
    return _packed(parts, start=f"{topic}: ")


def _split(names: Sequence[str], room: int) -> list[str]:
    """Returns names joined to texts of at most this many characters."""
    texts: list[str] = []
    for name in names:
        if texts and len(f"{texts[-1]}; {name}") <= room:
            texts[-1] = f"{texts[-1]}; {name}"
        else:
            texts.append(name)
    return texts


def _names(places: Sequence[int], rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns short names of some rows of a block, or "all but" the others if that is shorter.

    Returns "" for all rows. If all prompt shares of a system are meant, only the system is named.
    """
    if len(places) == len(rows) > 1:
        return []
    shares: dict[str, list[float]] = {}
    for row in rows:
        shares.setdefault(clean(row["system"]), []).append(row["prompt"])

    def named(chosen: Collection[int]) -> list[str]:
        prompts: dict[str, list[float]] = {}
        for place in chosen:
            prompts.setdefault(clean(rows[place]["system"]), []).append(rows[place]["prompt"])
        return [
            system
            if len(own) == len(shares[system])
            else f"{system} at {_spoken([f'{p:.0%}' for p in own])}"
            for system, own in prompts.items()
        ]

    own = named(places)
    others = named([place for place in range(len(rows)) if place not in places])
    if not others:
        return own
    *before, last = others
    rest = f"all but {'; '.join(before)}{' and ' if before else ''}{last}"
    return [rest] if len(rest) < sum(map(len, own)) else own
