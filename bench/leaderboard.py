"""A leaderboard kept as data: one protocol, every score with its signature, nothing ever erased.

`results/leaderboard.jsonl`: a line an entry. The first entry sets the protocol; a score of
another one is refused, with the field that differs.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from bench.errors import UserError
from bench.metrics.base import ALWAYS, SHORT
from bench.metrics.counted import leading
from bench.metrics.shipped import METRICS
from bench.report.fit import Column, first_fit, numbers, texts
from bench.report.terminal import draw, make_console, say
from bench.signature import POLICIES
from bench.systems.base import Role
from bench.text import clean
from bench.yamlfile import Strict

PROTOCOL = tuple(name for name, policy in POLICIES.items() if policy.board)
"""The fields of a signature in which all entries of a board agree."""
_SHOWN = tuple(
    score for m in METRICS if m.against == "references" for score in m.scores if score.kept
)
"""Scores that competing systems have, but for those that narrow tables lack first."""
_ORDER = (
    ("±",),
    *((score.head,) for score in _SHOWN if score.kept < SHORT),
    ("earlier",),
    ("added",),
    *((s.head,) for s in sorted(_SHOWN, key=lambda s: s.kept) if SHORT <= s.kept < ALWAYS),
)
"""What is given up for want of width, first to last."""


class Entry(Strict):
    """One system at one prompt share, when it was added and from which run."""

    added: str
    run: str
    system: str
    prompt: float
    scores: dict[str, dict[str, float]] = Field(min_length=1)
    failed: int
    signature: dict[str, str | int]

    @property
    def key(self) -> tuple[str, float, str]:
        """What a later entry replaces at the top of the board."""
        return self.system, self.prompt, str(self.signature["seeds"])


def read_board(path: Path) -> list[Entry]:
    """All entries, oldest first; raises UserError naming a line that is none."""
    if not path.exists():
        return []
    entries = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            entries.append(Entry.model_validate_json(line))
        except ValidationError as error:
            reason = " ".join(str(error).split())[:150]
            raise UserError(
                f"{path}:{number}: not an entry ({reason}); restore the file"
            ) from error
    return entries


def _entries(run: Path) -> list[Entry]:
    path = run / "summary.json"
    try:
        summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: no summary of a finished run; run the job first") from error
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    first = summary["protocol"]["asr_label"]
    return [
        Entry(
            added=now,
            run=run.name,
            system=cell["system"],
            prompt=cell["prompt"],
            scores=cell["scores"],
            failed=cell["failed"],
            signature=cell["signature"],
        )
        for cell in summary["cells"]
        if cell["role"] == Role.SYSTEM and cell["asr"] == first and cell["hear"] == "whole"
        # Of which nothing was transcribed, nothing was measured.
        if cell["failed"] < cell["signature"]["n"]
    ]


def _refuse(entry: Entry, board: Path, first: Entry) -> None:
    for field in PROTOCOL:
        if entry.signature[field] != first.signature[field]:
            raise UserError(
                f"{board}: {entry.system}: {field} {entry.signature[field]}, the board's is "
                f"{first.signature[field]}; score it with the board's protocol, or begin another"
            )


def add(run: Path, board: Path) -> int:
    """Adds a run's systems; raises UserError, and adds none, where one has another protocol."""
    known = read_board(board)
    fresh = _entries(run)
    if not fresh:
        raise UserError(
            f"{run}: no system to add; ceilings, floors and systems that failed throughout are none"
        )
    for entry in fresh:
        _refuse(entry, board, (known or fresh)[0])
    seen = {json.dumps([e.system, e.prompt, e.scores, e.signature], sort_keys=True) for e in known}
    new = [
        e
        for e in fresh
        if json.dumps([e.system, e.prompt, e.scores, e.signature], sort_keys=True) not in seen
    ]
    board.parent.mkdir(parents=True, exist_ok=True)
    with board.open("a", encoding="utf-8") as stream:
        stream.writelines(entry.model_dump_json() + "\n" for entry in new)
    there = len(fresh) - len(new)
    print(f"{clean(str(board))}: {len(new)} entries added, {there} were there already")
    return 0


def _newest(entries: Iterable[Entry]) -> list[tuple[Entry, int]]:
    """The last entry of every system and prompt, and how many it replaces."""
    last: dict[tuple[str, float, str], Entry] = {}
    times: dict[tuple[str, float, str], int] = {}
    for entry in entries:
        last[entry.key] = entry
        times[entry.key] = times.get(entry.key, -1) + 1
    return [(entry, times[key]) for key, entry in last.items()]


def _places(ranked: Sequence[tuple[Entry, int]]) -> list[int]:
    """Every entry's place within its prompt share."""
    prompts = [entry.prompt for entry, _ in ranked]
    return [1 + number - prompts.index(prompt) for number, prompt in enumerate(prompts)]


def _columns(ranked: Sequence[tuple[Entry, int]], left_out: Sequence[str]) -> list[Column]:
    def score(entry: Entry, name: str) -> str:
        found = entry.scores[name]
        half = "" if "±" in left_out else f"±{(found['high'] - found['low']) / 2:.1f}"
        return f"{found['score']:.2f}{half}"

    shown = [entry for entry, _ in ranked]
    made = [
        numbers("", _places(ranked)),
        texts("system", [entry.system for entry in shown]),
        numbers("seed", [str(entry.signature["seeds"]) or "-" for entry in shown]),
        numbers("prompt", [f"{entry.prompt:.0%}" for entry in shown]),
        *(numbers(s.head, [score(entry, s.name) for entry in shown]) for s in _SHOWN),
        numbers("failed", [entry.failed for entry in shown]),
        numbers("added", [entry.added[:10] for entry in shown]),
        numbers("earlier", [earlier for _, earlier in ranked]),
    ]
    return [column for column in made if column.head not in left_out]


def show(board: Path) -> int:
    """Prints the board, the best first within a prompt share."""
    metric = leading(_SHOWN).name
    entries = read_board(board)
    if not entries:
        raise UserError(f"{board}: empty; add a run: pixvox leaderboard add RUN")
    ranked = sorted(
        _newest(entries), key=lambda pair: (pair[0].prompt, -pair[0].scores[metric]["score"])
    )
    console = make_console()
    columns, left_out = first_fit(lambda out: _columns(ranked, out), _ORDER, console.width)
    draw(console, columns)
    if left_out:
        shown = f"Left out to fit {console.width} characters: {', '.join(left_out)}"
        say(console, f"{shown}; all of it is in {board}.", "dim")
    say(console, "|".join(f"{name}:{entries[0].signature[name]}" for name in PROTOCOL), "dim")
    return 0
