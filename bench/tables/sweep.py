"""The result of a sweep as a tidy frame, and its pivots."""

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from bench.asr.base import names_of
from bench.jobs.cells import Cell
from bench.jobs.naming import names_without_seed
from bench.metrics.base import SHORT
from bench.scoring.scorer import CellScores
from bench.store.columns import Column, Columns, declared, schema
from bench.systems import decoding, shipped
from bench.systems.axes import PROMPT

_NAMES = (
    Column("system", pl.String, "The system's label."),
    Column("pattern", pl.String, "The pattern of its codebooks; null if it has none."),
)
_PART = Column("part", pl.String, "The transcribed part: `whole`, or only the `continuation`.")
_PER_CODEBOOK = Column(
    "per_codebook",
    pl.String,
    "Which of these are set for each codebook, and how; their columns hold the first's.",
)
_ASR = Column(
    "asr", pl.String, "The ASR's label, and its decoding if two share it; null for a text."
)
_AXES: Columns = (
    *_NAMES,
    PROMPT.declared,
    _PART,
    *(axis.declared for axis in decoding.AXES),
    _PER_CODEBOOK,
    *(axis.declared for axis in shipped.AXES if axis not in (PROMPT, *decoding.AXES)),
    _ASR,
)
"""All axes on which cells differ: those that systems declare, and those of the measurement."""
AXES = tuple(column.name for column in _AXES)
NUMERIC = tuple(axis.name for axis in shipped.AXES if axis.is_numeric)
COLUMNS: Columns = (
    Column("cell", pl.String, "The cell's name, with the keys of its speech and transcripts."),
    *_AXES,
    Column("normaliser", pl.String, "The normaliser of hypotheses and references."),
    Column("metric", pl.String, "The score's name."),
    Column("kept", pl.Int64, "Priority in narrow tables: the lowest is dropped first."),
    Column("score", pl.Float64, "The corpus score, in percent or the metric's own unit."),
    Column("low", pl.Float64, "The lower end of its confidence interval."),
    Column("high", pl.Float64, "The upper end of its confidence interval."),
    Column("n", pl.Int64, "The number of items, failed ones included."),
    Column("failed", pl.Int64, "The number of failed items; each counts as empty."),
    Column("signature", pl.String, "The protocol of the score (see comparison.md)."),
)
"""The columns of the tidy frame, `scores.parquet`."""
_TRANSCRIBER = ("asr", "normaliser")
NAMED = {column.name: column for column in COLUMNS}
"""The tidy frame's columns by name."""
SENSITIVITY: Columns = (
    Column(
        "system",
        pl.String,
        "The system's label, and its values where its cells differ, except the seed.",
    ),
    *(NAMED[n] for n in ("prompt", "metric", "kept", "asr", "normaliser")),
    Column("score", pl.Float64, "The score by that ASR and normaliser, mean over seeds."),
    Column("change", pl.Float64, "The difference from the score by the job's own."),
    Column("rank", pl.Int64, "The system's rank within its prompt share."),
    Column("rank_change", pl.Int64, "The ranks gained, compared with the job's own."),
)
SEEDS = Column("seeds", pl.UInt32, "The number of cells in the means.")


def pivot_columns(axes: Sequence[str], metrics: Sequence[str]) -> Columns:
    """Returns the columns of the sweep's pivot: axes, metrics, and the number of seeds."""
    means = (Column(name, pl.Float64, f"{name}, mean over seeds.") for name in metrics)
    return (*(NAMED[axis] for axis in axes), *means, SEEDS)


SHORT_TABLES = pl.col("kept") >= SHORT
"""A filter for the rows of a tidy frame in pivots and plots."""


def axes_of(cell: Cell) -> dict[str, Any]:
    """Returns a cell's value on every axis; null if it has none."""
    places: dict[str, Any] = dict.fromkeys(AXES)
    places |= {"system": cell.label, "pattern": cell.pattern or None, "prompt": cell.prompt}
    places |= {"part": cell.part, "asr": cell.asr.label if cell.asr else None}
    point = cell.system.point()
    several = {axis: value for axis, value in point.items() if isinstance(value, tuple)}
    words = (f"{axis} {' '.join(f'{value:g}' for value in v)}" for axis, v in several.items())
    places |= point | {axis: values[0] for axis, values in several.items()}
    return places | {"prompt": cell.prompt, "per_codebook": ", ".join(words) or None}


def tidy(scores: Sequence[CellScores]) -> pl.DataFrame:
    """Returns a row for every cell and metric, with all axes, the interval and the signature."""
    asrs = dict.fromkeys(s.cell.asr for s in scores if s.cell.asr is not None)
    names = names_of(list(asrs))
    rows = [
        axes_of(s.cell)
        | {
            "cell": s.cell.name,
            "asr": names[s.cell.asr] if s.cell.asr else None,
            "normaliser": s.signature.normaliser,
            "metric": score.name,
            "kept": score.display_priority,
            "score": interval.score,
            "low": interval.low,
            "high": interval.high,
            "n": s.n,
            "failed": s.failed,
            "signature": s.signature.text(score.name),
        }
        for s in scores
        for score in s.counted.scores
        for interval in (s.scores[score.name],)
    ]
    return pl.DataFrame(rows, schema=schema(COLUMNS))


def differ(axis: str, values: Iterable[Any]) -> bool:
    """Returns whether cells differ on an axis: two values or more, nulls left out.

    A list with a value for each codebook differs from one value for all; `per_codebook` is then
    null.
    """
    places = set(values)
    return len(places if axis == "per_codebook" else places - {None}) > 1


def varied(frame: pl.DataFrame) -> list[str]:
    """Returns the axes on which the cells differ."""
    return [axis for axis in AXES if differ(axis, frame[axis])]


def pivot(frame: pl.DataFrame) -> pl.DataFrame:
    """Returns a row for every point, a column for every metric: means over seeds."""
    axes = [axis for axis in varied(frame) if axis != "seed"] or ["system"]
    wide = frame.filter(SHORT_TABLES).pivot(
        on="metric", index=axes, values="score", aggregate_function="mean"
    )
    seeds = frame.group_by(axes, maintain_order=True).agg(seeds=pl.col("cell").n_unique())
    means = wide.join(seeds, on=axes, how="left", nulls_equal=True)
    return declared(means, pivot_columns(axes, wide.columns[len(axes) :]))


def sensitivity(
    frame: pl.DataFrame, cells: Sequence[Cell], *, asr: str, normaliser: str
) -> pl.DataFrame:
    """Returns every system's scores by each ASR and normaliser, and how many ranks it moves
    compared with the job's own.

    `cells` are those of the frame. Scores are means over seeds for the whole speech; systems are
    ranked within a prompt share. A cell without transcripts is not ranked.
    """
    frame = frame.with_columns(
        pl.col("cell").replace_strict(names_without_seed(cells)).alias("system")
    )
    point = [axis for axis in AXES if axis not in ("pattern", "part", "seed", "asr")]
    point += ["metric", "kept"]
    transcribed = frame.filter(
        SHORT_TABLES,
        pl.col("asr").is_not_null(),
        pl.col("part") == "whole",
        pl.col("failed") < pl.col("n"),
    )
    means = transcribed.group_by([*point, *_TRANSCRIBER], maintain_order=True).agg(
        pl.col("score").mean()
    )
    ranks = means.with_columns(
        rank=pl.col("score")
        .rank("min", descending=True)
        .over("prompt", "metric", *_TRANSCRIBER)
        .cast(pl.Int64)
    )
    own = (pl.col("asr") == asr) & (pl.col("normaliser") == normaliser)
    base = ranks.filter(own).select(*point, first="rank", first_score="score")
    joined = ranks.filter(~own).join(base, on=point, how="inner", nulls_equal=True)
    changes = joined.select(
        "system",
        "prompt",
        "metric",
        "kept",
        *_TRANSCRIBER,
        "score",
        change=pl.col("score") - pl.col("first_score"),
        rank="rank",
        rank_change=pl.col("first") - pl.col("rank"),
    )
    return declared(changes, SENSITIVITY)
