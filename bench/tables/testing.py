"""Tests which rows of a table differ; all comparisons that a table shows are one family."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import polars as pl

from bench.common.resampling import Resampling
from bench.metrics.base import Score
from bench.scoring.families import Compared, adjusted
from bench.scoring.inference import Difference, compare, permuted_differences
from bench.scoring.signature import SAME
from bench.store.columns import Column, Columns, schema
from bench.tables.pooling import Row, base_of, grade_of, on_common_scale, ranked

SIGNIFICANT = 0.05
"""The level of all comparisons of a table together."""
TESTS: Columns = (
    Column("system", pl.String, "The system."),
    Column("against", pl.String, "The first system of its prompt, which it is compared with."),
    Column("prompt", pl.Float64, "The share of the reference speech that was given, 0 to 1."),
    Column("metric", pl.String, "The score."),
    Column("difference", pl.Float64, "Its score minus the other's, in the score's unit."),
    Column("low", pl.Float64, "The lower end of the difference's confidence interval."),
    Column("high", pl.Float64, "The upper end of the difference's confidence interval."),
    Column("p_bootstrap", pl.Float64, "The paired bootstrap's p-value."),
    Column("p_permutation", pl.Float64, "The paired permutation test's p-value."),
    Column("p_adjusted", pl.Float64, "The latter, adjusted for all systems, prompts and scores."),
    Column("detectable", pl.Float64, "The difference that is detected with a power of 80%."),
)

Marks = dict[int, list[str]]
"""A row's index → the names of scores."""


@dataclass(frozen=True, kw_only=True)
class Marked:
    """The marks of a table, by each row's index among the competing rows.

    `best` are the scores in which a row is the best of its prompt share, or does not differ
    significantly from the best; none if no row differs. `different` are the scores in which a row
    differs from the first row of its prompt share, each with its adjusted p-value. `tops` are each
    score's best rows, one for every prompt share, and `alike` the rows that do not differ
    significantly from them, possibly all. `tested` are the rows that were compared.
    """

    best: Marks
    different: dict[int, dict[str, float]]
    tops: dict[str, set[int]]
    alike: dict[str, set[int]]
    tested: set[int]


class PairTests:
    """Permutation tests of pairs of rows; each pair is permuted once, for all tables."""

    def __init__(self, resampling: Resampling) -> None:
        self.resampling = resampling
        self._compared: dict[tuple[Row, Row], dict[str, Compared]] = {}

    def compared(self, a: Row, b: Row) -> dict[str, Compared]:
        """Returns every common score of `b` minus that of `a`, and its permutations."""
        if (a, b) not in self._compared:
            first, second = on_common_scale(a, b)
            self._compared[a, b] = permuted_differences(first, second, self.resampling)
        return self._compared[a, b]

    def differences(self, a: Row, b: Row) -> dict[str, Difference]:
        """Returns `b` minus `a` with intervals, for common scores."""
        return compare(*on_common_scale(a, b), self.resampling, self.compared(a, b))


def shared_scores(rows: Sequence[Row]) -> list[Score]:
    """Returns the scores that all rows have."""
    first, *rest = (row.counted.scores for row in rows)
    return [score for score in first if all(score in other for other in rest)]


def competing_groups(competing: Sequence[Row], first: Row) -> list[list[int]]:
    """Returns the indices of rows that are ranked together: of one prompt share and protocol."""
    places_by_prompt: dict[float, list[int]] = {}
    for place, row in enumerate(competing):
        if grade_of(row, first).mark == SAME:
            places_by_prompt.setdefault(row.cell.prompt, []).append(place)
    return [places for places in places_by_prompt.values() if len(places) > 1]


def compare_rows(competing: Sequence[Row], first: Row | None, tests: PairTests) -> Marked:
    """Tests every pair of rows of a prompt share, and every row against its base.

    Each is a family of its own, over all scores and prompt shares of the table.
    """
    best: Marks = {}
    pairs: dict[tuple[int, int, str], Compared] = {}
    groups = competing_groups(competing, first) if first is not None else []
    for places in groups:
        scores = shared_scores([competing[place] for place in places])
        for a, b in combinations(places, 2):
            compared = tests.compared(competing[a], competing[b])
            pairs |= {(a, b, score.name): compared[score.name] for score in scores}
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
            # A score in which all rows are alike distinguishes none, so it is not marked.
            for place in alike if len(alike) < len(places) else ():
                best.setdefault(place, []).append(score.name)
    against: dict[tuple[int, str], Compared] = {}
    for place, row in enumerate(competing):
        base = base_of(row, competing)
        if base is not None and base is not row:
            compared = tests.compared(base, row)
            shared = shared_scores([base, row])
            against |= {(place, score.name): compared[score.name] for score in shared}
    different: dict[int, dict[str, float]] = {}
    for (place, name), value in adjusted(against).items():
        different.setdefault(place, {})[name] = value
    tested = {place for places in groups for place in places}
    return Marked(best=best, different=different, tops=tops, alike=not_apart, tested=tested)


@dataclass(frozen=True)
class Tested:
    """The competing rows, and which of them differ."""

    competing: Sequence[Row]
    marks: Marked


def tested_rows(rows: Sequence[Row], tests: PairTests) -> Tested:
    """Tests all competing rows as one table, whichever tables show them."""
    competing = [row for row in rows if ranked(row)]
    return Tested(competing, compare_rows(competing, next(iter(competing), None), tests))


def tests_frame(tested: Tested, tests: PairTests) -> pl.DataFrame:
    """Returns every system against the first of its prompt: differences, intervals, p-values."""
    rows = []
    for place, row in enumerate(tested.competing):
        base = base_of(row, tested.competing)
        if base is None or base is row:
            continue
        names = {"system": row.label, "against": base.label, "prompt": row.cell.prompt}
        changes = tests.differences(base, row)
        for metric, p in tested.marks.different[place].items():
            facts = {"metric": metric, "p_adjusted": p}
            rows.append(names | facts | asdict(changes[metric]))
    return pl.DataFrame(rows, schema=schema(TESTS))
