"""What metrics counted for some items: one matrix with a row for each item and named columns.

Corpus scores are functions of the column sums, so a resampled corpus is a product of weights and
this matrix: thousands of replicates cost no more than one pass over the texts.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from bench.common.errors import UserError
from bench.common.text import reason_of
from bench.metrics.base import (
    Array,
    AudioMetric,
    CorpusMetric,
    Count,
    Files,
    Hypotheses,
    ImageMetric,
    Metric,
    References,
    RowMetric,
    Score,
)
from bench.store.rows import measured_names
from pixvox.errors import PixVoxError


@dataclass(frozen=True, eq=False)
class Counted:
    """`values` `[n, D]`: the columns of `metrics`, one metric after the other."""

    metrics: tuple[CorpusMetric, ...]
    values: Array

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names, each after its metric's name."""
        return column_names(self.metrics)

    @property
    def scores(self) -> tuple[Score, ...]:
        """The metrics' scores, in order."""
        return tuple(score for metric in self.metrics for score in metric.scores)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def prior(self) -> Array:
        """The metrics' priors `[D]`; 0 for a metric without one."""
        each = (metric.prior or (0.0,) * len(metric.columns) for metric in self.metrics)
        return np.array([value for prior in each for value in prior])

    def of(self, sums: Array) -> dict[str, Array]:
        """Returns every score in its unit, `[...]` each, from summed columns, `[..., D]`."""
        scores: dict[str, Array] = {}
        start = 0
        for metric in self.metrics:
            end = start + len(metric.columns)
            values = _scored(metric, sums[..., start:end])
            scores |= {score.name: values[..., n] for n, score in enumerate(metric.scores)}
            start = end
        return scores

    def corpus(self) -> dict[str, Array]:
        """Returns the scores of all items together."""
        return self.of(self.values.sum(0))

    def each(self) -> dict[str, Array]:
        """Returns the scores of every item alone, `[n]` each."""
        return self.of(self.values)

    def with_values(self, values: Array) -> "Counted":
        """Returns the same columns with other numbers."""
        return replace(self, values=values)

    def beside(self, other: "Counted") -> "Counted":
        """Returns the columns of both side by side, for the same items."""
        return joined((*self.metrics, *other.metrics), [self.values, other.values])

    def only(self, metrics: Sequence[CorpusMetric]) -> "Counted":
        """Returns the columns of the metrics named, in the order that they have here."""
        selected, parts, start = [], [], 0
        for metric in self.metrics:
            end = start + len(metric.columns)
            if metric in metrics:
                selected.append(metric)
                parts.append(self.values[:, start:end])
            start = end
        empty = np.zeros((len(self.values), 0))
        return Counted(tuple(selected), np.concatenate([empty, *parts], axis=1))


def column_names(metrics: Sequence[CorpusMetric]) -> tuple[str, ...]:
    """Returns every column's name, after its metric's."""
    return tuple(f"{metric.name}: {column}" for metric in metrics for column in metric.columns)


def statistics_of(
    metric: Metric | ImageMetric, count: Count, hypotheses: Hypotheses, references: References
) -> Array:
    """Returns `count`'s result for a metric, `[n, D]`; raises UserError for another shape or
    NaN."""
    with _one_line(metric, "statistics"):
        return _checked(metric, count(hypotheses, references), list(hypotheses))


def row_statistics(metric: RowMetric, rows: pl.DataFrame) -> Array:
    """Returns a metric's columns of a run's rows, `[n, D]`; raises as `statistics_of`."""
    with _one_line(metric, "statistics"):
        return _checked(metric, metric.statistics(rows), rows["item"].to_list())


def audio_statistics(
    metric: AudioMetric, rows: pl.DataFrame, *, files: Files, cache: Path
) -> Array:
    """The columns of what a metric measured of the speech of rows (see `measured_columns`),
    `[n, D]`; raises as `statistics_of`."""
    absent = metric.absent or (0.0,) * len(metric.columns)
    counted = np.tile(np.array(absent, dtype=np.float64), (rows.height, 1))
    name, _ = measured_names(metric.name)
    measured = rows.filter(pl.col(name).is_not_null())
    if measured.height:
        items = measured["item"].to_list()
        values = np.array(measured[name].to_list(), dtype=np.float64)
        with _one_line(metric, "statistics"):
            given = metric.statistics(values, [files[item] for item in items], cache)
            counted[rows[name].is_not_null().to_numpy()] = _checked(metric, given, items)
    return counted


def _checked(metric: CorpusMetric, given: object, items: Sequence[str]) -> Array:
    values = np.asarray(given, dtype=np.float64)
    _check(values, "transcripts by columns", (len(items), len(metric.columns)))
    odd = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if odd.size:
        # One such number would change every sum, interval and test of the score.
        raise ValueError(f"gave no finite number for {items[odd[0]]}")
    return values


def _scored(metric: CorpusMetric, sums: Array) -> Array:
    """Returns the metric's scores `[..., S]` of sums `[..., D]`; raises as `statistics_of`."""
    with _one_line(metric, "score"):
        scores = np.asarray(metric.score(sums), dtype=np.float64)
        _check(scores, f"scores of sums {list(sums.shape)}", (*sums.shape[:-1], len(metric.scores)))
    return scores


def _check(values: Array, what: str, wanted: tuple[int, ...]) -> None:
    if values.shape != wanted:
        raise ValueError(f"gave an array {list(values.shape)}, not {list(wanted)}, {what}")


@contextmanager
def _one_line(metric: CorpusMetric, method: str) -> Iterator[None]:
    """Raises a UserError with the metric's name for any exception of a user's metric."""
    try:
        yield
    except (PixVoxError, OSError, MemoryError):
        raise
    except Exception as error:
        kind = type(metric)
        if kind.__module__.startswith("bench."):
            raise
        named = f"scoring: metrics: {kind.__module__}:{kind.__qualname__}"
        raise UserError(f"{named}: {method}: {reason_of(error)}; fix it") from error


def joined(metrics: Sequence[CorpusMetric], parts: Sequence[Array]) -> Counted:
    """Returns what each of the metrics counted, `[n, D]` each, side by side."""
    return Counted(tuple(metrics), np.concatenate(list(parts), axis=1))


def leading(scores: Sequence[Score]) -> Score:
    """Returns the score that leaderboards are sorted by: the leading one, else the first."""
    return next((score for score in scores if score.leading), scores[0])
