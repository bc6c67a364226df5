"""Orders a leaderboard's entries: the newest of every system, the best first in a prompt share."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.metrics.counted import leading
from bench.tables.leaderboard import SHOWN, Entry

METRIC = leading(SHOWN).name
"""The score that leaderboards are ranked by."""


@dataclass(frozen=True)
class Ranked:
    """An entry, its rank in its prompt share, and how many earlier entries it replaces."""

    entry: Entry
    place: int
    earlier: int


def ranked(entries: Sequence[Entry]) -> list[Ranked]:
    """Returns the last entry of every system and prompt share, in the order of the leaderboard."""
    last: dict[tuple[str, float], Entry] = {}
    times: dict[tuple[str, float], int] = {}
    for entry in entries:
        last[entry.key] = entry
        times[entry.key] = times.get(entry.key, -1) + 1
    order = sorted(last.values(), key=lambda entry: (entry.prompt, -entry.scores[METRIC].score))
    prompts = [entry.prompt for entry in order]
    return [
        Ranked(entry, 1 + number - prompts.index(entry.prompt), times[entry.key])
        for number, entry in enumerate(order)
    ]
