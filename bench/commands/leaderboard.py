"""`pixvox leaderboard show`: a board, the best first."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.common.errors import UserError
from bench.metrics.base import ALWAYS, SHORT
from bench.metrics.counted import leading
from bench.report.fit import Column, first_fit, numbers, texts
from bench.report.terminal import draw, make_console, say
from bench.tables.leaderboard import SHOWN, SIGNED, Entry, read_board

_ORDER = (
    ("±",),
    *((score.head,) for score in SHOWN if score.kept < SHORT),
    ("earlier",),
    ("added",),
    *((s.head,) for s in sorted(SHOWN, key=lambda s: s.kept) if SHORT <= s.kept < ALWAYS),
)
"""What is given up for want of width, first to last."""


def _newest(entries: Iterable[Entry]) -> list[tuple[Entry, int]]:
    """The last entry of every system and prompt, and how many it replaces."""
    last: dict[tuple[str, float], Entry] = {}
    times: dict[tuple[str, float], int] = {}
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
        half = "" if "±" in left_out else f"±{(found.high - found.low) / 2:.1f}"
        return f"{found.score:.2f}{half}"

    shown = [entry for entry, _ in ranked]
    made = [
        numbers("", _places(ranked)),
        texts("system", [entry.system for entry in shown]),
        numbers("seeds", [entry.seeds or "-" for entry in shown]),
        numbers("prompt", [f"{entry.prompt:.0%}" for entry in shown]),
        *(numbers(s.head, [score(entry, s.name) for entry in shown]) for s in SHOWN),
        numbers("failed", [entry.failed for entry in shown]),
        numbers("added", [entry.added[:10] for entry in shown]),
        numbers("earlier", [earlier for _, earlier in ranked]),
    ]
    return [column for column in made if column.head not in left_out]


def show(board: Path) -> int:
    """Prints the board, the best first within a prompt share."""
    metric = leading(SHOWN).name
    entries = read_board(board)
    if not entries:
        raise UserError(f"{board}: empty; add a run: pixvox leaderboard add RUN")
    ranked = sorted(
        _newest(entries), key=lambda pair: (pair[0].prompt, -pair[0].scores[metric].score)
    )
    console = make_console()
    columns, left_out = first_fit(lambda out: _columns(ranked, out), _ORDER, console.width)
    draw(console, columns)
    if left_out:
        shown = f"Left out to fit {console.width} characters: {', '.join(left_out)}"
        say(console, f"{shown}; all of it is in {board}.", "dim")
    say(console, "|".join(f"{name}:{entries[0].signature[name]}" for name in SIGNED), "dim")
    return 0
