"""A leaderboard in a file: one protocol, every score with its signature, and no deletions.

`results/leaderboard.jsonl` has a line for each entry. The first entry sets the protocol; a score
with another protocol is refused, with the field that differs. Every entry has the hash of the
previous entry and its own, so that edited, moved or removed entries are detected.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from bench.common.atomic import disk_errors, write_text
from bench.common.errors import UserError
from bench.common.links import refuse_links
from bench.common.lock import locked
from bench.common.resampling import Resampling
from bench.common.yamlfile import Strict, read_small
from bench.metrics.shipped import METRICS
from bench.scoring.signature import POLICIES
from bench.systems.base import Role

_MOST_BYTES = 256 * 1024 * 1024
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_PATIENCE_SECONDS = 5.0

SIGNED = tuple(name for name, policy in POLICIES.items() if policy.board)
"""The fields of a signature that must be equal in all entries."""
SHOWN = tuple(
    score
    for m in METRICS
    if m.against == "references"
    for score in m.scores
    if score.display_priority
)
"""Scores of competing systems, without those that narrow tables drop first."""


def _all_of(names: Iterable[str]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    wanted = set(names)

    def check(values: dict[str, Any]) -> dict[str, Any]:
        if lacking := sorted(wanted - values.keys()):
            raise ValueError(f"lacks {', '.join(lacking)}")
        return values

    return check


class Score(Strict):
    """A corpus score in percent and its interval."""

    score: _Finite
    low: _Finite
    high: _Finite


class Entry(Strict):
    """One system at one prompt share, with the date on which it was added, and its run.

    Its scores are pooled over all `seeds` of the run; 0 if nothing is sampled. `previous` is the
    hash of the previous entry, `hash` that of the rest of this one.
    """

    added: str
    run: str
    system: str
    prompt: _Finite
    scores: Annotated[dict[str, Score], AfterValidator(_all_of(s.name for s in SHOWN))]
    seeds: Annotated[int, Field(ge=0)]
    n: int
    failed: int
    signature: Annotated[dict[str, str | int], AfterValidator(_all_of((*SIGNED, "seeds")))]
    previous: str = ""
    hash: str = ""

    @property
    def key(self) -> tuple[str, float]:
        """The system, for a later entry to replace it in the ranking, whatever its seeds."""
        return self.system, self.prompt

    @property
    def content(self) -> str:
        """The entry's content, which makes it a new result or one that is already there."""
        return self.model_dump_json(include={"system", "prompt", "scores", "signature"})

    def after(self, previous: str) -> "Entry":
        """Returns the entry with the hash of the previous one."""
        linked = self.model_copy(update={"previous": previous})
        return linked.model_copy(update={"hash": linked.digest})

    @property
    def digest(self) -> str:
        """Returns the correct value of `hash`."""
        text = self.model_dump_json(exclude={"hash"})
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def read_board(path: Path) -> list[Entry]:
    """Returns all entries, oldest first; raises UserError with the line of an invalid one."""
    try:
        path.lstat()
    except FileNotFoundError:
        return []
    entries: list[Entry] = []
    previous = ""
    text = read_small(path, _MOST_BYTES)
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else (), 1):
        try:
            entry = Entry.model_validate_json(line)
        except ValidationError as error:
            reason = " ".join(str(error).split())[:150]
            raise UserError(
                f"{path}:{number}: not an entry ({reason}); restore the file"
            ) from error
        # Compared byte for byte: of two equal keys a parser would use one and a person the other.
        mark = number == 1 and path.stat().st_size != len(text.encode())
        if mark or entry.hash != entry.digest or entry.model_dump_json() != line:
            raise UserError(f"{path}:{number}: changed since it was added; restore the file")
        if entry.previous != previous:
            raise UserError(
                f"{path}:{number}: does not follow the entry before it, so one was moved or "
                "removed; restore the file"
            )
        previous = entry.hash
        entries.append(entry)
    return entries


class _Row(BaseModel):
    """A row of a run's tables, all seeds pooled, with the fields that a leaderboard needs."""

    system: str
    role: Role
    prompt: _Finite
    part: str
    seeds: int
    sampled: bool
    n: int
    failed: int
    scores: dict[str, Any]
    signature: dict[str, Any]


class _Protocol(BaseModel):
    """The part of a run's protocol that determines its intervals."""

    confidence: _Finite = Resampling.confidence


class _Summary(BaseModel):
    rows: list[_Row]
    protocol: _Protocol = _Protocol()


def _entries(run: Path) -> list[Entry]:
    refuse_links(run)
    path = run / "summary.json"
    if not path.exists():
        raise UserError(f"{path}: no summary of a finished run; run the job first")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    try:
        summary = _Summary.model_validate_json(read_small(path, _MOST_BYTES))
        if summary.protocol.confidence != Resampling.confidence:
            raise UserError(
                f"{path}: its intervals are {summary.protocol.confidence:.1%} ones, a board's "
                f"{Resampling.confidence:.0%}; run: pixvox rescore JOB --set "
                f"scoring.confidence={Resampling.confidence}"
            )
        return [
            Entry(
                added=now,
                run=run.name,
                system=row.system,
                prompt=row.prompt,
                scores={name: Score(**score) for name, score in row.scores.items()},
                seeds=row.seeds if row.sampled else 0,
                n=row.n,
                failed=row.failed,
                signature=row.signature,
            )
            for row in summary.rows
            if row.role == Role.SYSTEM and row.part == "whole"
            # Rows without a transcript have no scores.
            if row.failed < row.n
        ]
    except (ValidationError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:150]
        raise UserError(f"{path}: damaged ({reason}); run: pixvox rescore JOB") from error


def _refuse(entry: Entry, board: Path, first: Entry) -> None:
    for field in SIGNED:
        if entry.signature[field] != first.signature[field]:
            raise UserError(
                f"{board}: {entry.system}: {field} {entry.signature[field]}, the board's is "
                f"{first.signature[field]}; score it with the board's protocol, or start "
                "another board"
            )


@dataclass(frozen=True)
class Added:
    """How many entries a run added, and how many of its systems were on the board already."""

    new: int
    known: int


def add_run(run: Path, board: Path) -> Added:
    """Adds a run's systems; raises UserError, and adds none, if one has another protocol."""
    fresh = _entries(run)
    if not fresh:
        raise UserError(
            f"{run}: no system to add; ceilings, floors and systems without a transcript are "
            f"not added"
        )
    with disk_errors(board), locked(board.parent, _PATIENCE_SECONDS):
        known = read_board(board)
        for entry in fresh:
            _refuse(entry, board, (known or fresh)[0])
        contents = {entry.content for entry in known}
        entries = list(known)
        for entry in fresh:
            if entry.content not in contents:
                entries.append(entry.after(entries[-1].hash if entries else ""))
        new = len(entries) - len(known)
        if new:
            text = "".join(entry.model_dump_json() + "\n" for entry in entries)
            write_text(board, text, durable=True)
    return Added(new, len(fresh) - new)
