"""A sweep's result as a tidy frame, and its pivots."""

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
    Column("pattern", pl.String, "The pattern of its codebooks; null where it has none."),
)
_PART = Column("part", pl.String, "What was transcribed: `whole`, or the `continuation` alone.")
_PER_CODEBOOK = Column(
    "per_codebook",
    pl.String,
    "Which of these are set for each codebook, and how; their columns hold the first's.",
)
_ASR = Column(
    "asr", pl.String, "The ASR's label, and how it decodes where two share it; null for a text."
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
"""Columns of all on which cells differ: what systems declare, and how they are measured."""
AXES = tuple(column.name for column in _AXES)
NUMERIC = tuple(axis.name for axis in shipped.AXES if axis.is_numeric)
COLUMNS: Columns = (
    Column("cell", pl.String, "The cell's own name, with the keys of its speech and transcripts."),
    *_AXES,
    Column("normaliser", pl.String, "What both sides were normalised by before tokenising."),
    Column("metric", pl.String, "The score's name."),
    Column("kept", pl.Int64, "How long narrow tables keep the score: the lowest goes first."),
    Column("score", pl.Float64, "The corpus score, in percent or the metric's own unit."),
    Column("low", pl.Float64, "The lower end of its confidence interval."),
    Column("high", pl.Float64, "The upper end of its confidence interval."),
    Column("n", pl.Int64, "How many items were scored, failed ones included."),
    Column("failed", pl.Int64, "How many of them failed; each counts as an empty transcript."),
    Column("signature", pl.String, "All that the score stands on (see comparison.md)."),
)
"""Of the tidy frame, `scores.parquet`."""
_TRANSCRIBER = ("asr", "normaliser")
NAMED = {column.name: column for column in COLUMNS}
"""The tidy frame's columns by name."""
SENSITIVITY: Columns = (
    Column("system", pl.String, "The system's label, and where its cells differ, seeds aside."),
    *(NAMED[n] for n in ("prompt", "metric", "kept", "asr", "normaliser")),
    Column("score", pl.Float64, "The score by that ASR and normaliser, mean over seeds."),
    Column("change", pl.Float64, "How much it is above the score by the job's own."),
    Column("rank", pl.Int64, "The system's rank within its prompt share."),
    Column("rank_change", pl.Int64, "How many ranks it gains on that by the job's own."),
)
SEEDS = Column("seeds", pl.UInt32, "How many cells the means are of.")


def pivot_columns(axes: Sequence[str], metrics: Sequence[str]) -> Columns:
    """Of the sweep's pivot: axes, a column a metric, and the number of seeds."""
    means = (Column(name, pl.Float64, f"{name}, mean over seeds.") for name in metrics)
    return (*(NAMED[axis] for axis in axes), *means, SEEDS)


SHORT_TABLES = pl.col("kept") >= SHORT
"""Which rows of a tidy frame are in pivots and plots."""


def axes_of(cell: Cell) -> dict[str, Any]:
    """Returns a cell's place on every axis; null where it has none."""
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
    """Whether cells differ on an axis; where all agree, or only one has a value, there is none.

    What is set for each codebook differs from one value for all, of which `per_codebook` is null.
    """
    places = set(values)
    return len(places if axis == "per_codebook" else places - {None}) > 1


def varied(frame: pl.DataFrame) -> list[str]:
    """Returns the axes on which the cells differ."""
    return [axis for axis in AXES if differ(axis, frame[axis])]


def pivot(frame: pl.DataFrame) -> pl.DataFrame:
    """Returns a row for every point but its seed, a column for every metric: means over seeds."""
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
    """Every system's scores by each ASR and normaliser, and by how many ranks it moves from the
    named ones'.

    `cells` are those of the frame. Means over seeds, of speech that was scored whole; systems are
    ranked within a prompt share. A cell of which nothing was transcribed is not ranked.
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
