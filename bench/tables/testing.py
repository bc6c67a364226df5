"""Which rows of a table differ: all comparisons that a table shows are one family."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from bench.common.resampling import Resampling
from bench.metrics.base import Score
from bench.scoring.families import Compared, adjusted
from bench.scoring.inference import permuted_differences
from bench.scoring.signature import SAME
from bench.tables.pooling import Row, base_of, grade_of, on_common_scale

SIGNIFICANT = 0.05
"""The level of a whole table's comparisons."""

Marks = dict[int, list[str]]
"""A row's place → the names of scores."""


@dataclass(frozen=True, kw_only=True)
class Marked:
    """What a table marks, by each row's place among those that compete.

    `best` are the scores in which a row is the best of its prompt share, or not told apart from the
    best; none where no row is told apart. `different` are those in which it differs from the first
    row of its prompt share, each with its adjusted p-value. `tops` are each score's best rows,
    one of every prompt share, and `alike` those that are not told apart from theirs, all of
    them if need be. `tested` are the rows that were compared.
    """

    best: Marks
    different: dict[int, dict[str, float]]
    tops: dict[str, set[int]]
    alike: dict[str, set[int]]
    tested: set[int]


def shared_scores(rows: Sequence[Row]) -> list[Score]:
    """The scores that all rows have."""
    first, *others = (row.counted.scores for row in rows)
    return [score for score in first if all(score in other for other in others)]


def _tested(a: Row, b: Row, scores: Sequence[Score], resampling: Resampling) -> dict[str, Compared]:
    first, second = on_common_scale(a, b)
    compared = permuted_differences(first, second, resampling)
    return {score.name: compared[score.name] for score in scores}


def _groups(competing: Sequence[Row], first: Row) -> list[list[int]]:
    """The places of rows that may be ranked with each other: of one prompt share and protocol."""
    found: dict[float, list[int]] = {}
    for place, row in enumerate(competing):
        if grade_of(row, first).mark == SAME:
            found.setdefault(row.cell.prompt, []).append(place)
    return [places for places in found.values() if len(places) > 1]


def marked(competing: Sequence[Row], first: Row | None, resampling: Resampling) -> Marked:
    """Tests every pair of rows of a prompt share, and every row against its base.

    Both are families of their own, over all scores and prompt shares of the table.
    """
    best: Marks = {}
    pairs: dict[tuple[int, int, str], Compared] = {}
    groups = _groups(competing, first) if first is not None else []
    for places in groups:
        scores = shared_scores([competing[place] for place in places])
        for a, b in combinations(places, 2):
            compared = _tested(competing[a], competing[b], scores, resampling)
            pairs |= {(a, b, name): test for name, test in compared.items()}
    p = adjusted(pairs)
    tops: dict[str, set[int]] = {}
    not_apart: dict[str, set[int]] = {}
    for places in groups:
        for score in shared_scores([competing[place] for place in places]):
            if not score.ranked:
                continue
            values = {place: competing[place].scores[score.name].score for place in places}
            sign = -1 if score.lower_is_better else 1
            top = max(places, key=lambda place: sign * values[place])
            alike = [
                place
                for place in places
                if values[place] == values[top]
                or p[min(place, top), max(place, top), score.name] >= SIGNIFICANT
            ]
            tops.setdefault(score.name, set()).add(top)
            not_apart.setdefault(score.name, set()).update(alike)
            # What all have tells none of them apart, and is no mark.
            for place in alike if len(alike) < len(places) else ():
                best.setdefault(place, []).append(score.name)
    against: dict[tuple[int, str], Compared] = {}
    for place, row in enumerate(competing):
        base = base_of(row, competing)
        if base is not None and base is not row:
            compared = _tested(base, row, shared_scores([base, row]), resampling)
            against |= {(place, name): test for name, test in compared.items()}
    different: dict[int, dict[str, float]] = {}
    for (place, name), value in adjusted(against).items():
        different.setdefault(place, {})[name] = value
    tested = {place for places in groups for place in places}
    return Marked(best=best, different=different, tops=tops, alike=not_apart, tested=tested)
