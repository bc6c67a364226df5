"""Compares systems of two runs on their common items: paired differences, one family of tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from bench.common.resampling import Resampling
from bench.metrics.counted import Counted
from bench.scoring.families import Compared, adjusted
from bench.scoring.inference import compare, permuted_differences
from bench.store.columns import Column, Columns, schema

PAIRED: Columns = (
    Column("system", pl.String, "The system, with its prompt share and part."),
    Column("metric", pl.String, "The score."),
    Column("first", pl.Float64, "The first run's score, in percent or the metric's own unit."),
    Column("second", pl.Float64, "The second run's score, in the same unit."),
    Column("difference", pl.Float64, "The second score minus the first."),
    Column("low", pl.Float64, "The lower end of the difference's confidence interval."),
    Column("high", pl.Float64, "The upper end of the difference's confidence interval."),
    Column("p_adjusted", pl.Float64, "The permutation test's p-value, adjusted for all rows here."),
    Column("detectable", pl.Float64, "The difference that is detected with a power of 80%."),
)


@dataclass(frozen=True)
class Paired:
    """The statistics of one system in both runs, a row for each common item in the same order."""

    name: str
    first: Counted
    second: Counted


def paired_frame(pairs: Sequence[Paired], resampling: Resampling) -> pl.DataFrame:
    """Returns a row for each pair and common score; all of them are one family of tests.

    Raises ValueError if a pair's numbers of items differ.
    """
    shared = [_shared(pair) for pair in pairs]
    permuted = [permuted_differences(pair.first, pair.second, resampling) for pair in shared]
    family = {
        (place, name): test for place, tests in enumerate(permuted) for name, test in tests.items()
    }
    p = adjusted(family)
    rows = [
        row | {"p_adjusted": p[place, str(row["metric"])]}
        for place, pair in enumerate(shared)
        for row in _rows(pair, resampling, permuted[place])
    ]
    return pl.DataFrame(rows, schema=schema(PAIRED))


def _shared(pair: Paired) -> Paired:
    both = [metric for metric in pair.first.metrics if metric in pair.second.metrics]
    return Paired(pair.name, pair.first.only(both), pair.second.only(both))


def _rows(
    pair: Paired, resampling: Resampling, permuted: Mapping[str, Compared]
) -> list[dict[str, object]]:
    first, second = pair.first.corpus(), pair.second.corpus()
    changes = compare(pair.first, pair.second, resampling, permuted)
    return [
        {
            "system": pair.name,
            "metric": name,
            "first": float(first[name]),
            "second": float(second[name]),
            "difference": change.difference,
            "low": change.low,
            "high": change.high,
            "detectable": change.detectable,
        }
        for name, change in changes.items()
    ]
