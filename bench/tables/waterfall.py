"""Where a model's points go: how many the ASR, the codec and the model take.

It starts at what people reach, a caption as text against the image's others, and ends at the
model's row of the table. Every bar is scored on the same images against the same references: the
caption as text, its recorded speech as an ASR transcribes it, the same through the codec, and the
model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from bench.metrics.counted import Counted
from bench.scoring.inference import compare
from bench.scoring.scorer import Scorer
from bench.scoring.signature import NONE
from bench.store.columns import Column, Columns, schema
from bench.systems.base import Role
from bench.tables.pooling import Row, ranked

STEPS = ("ASR", "codec", "model")

COLUMNS: Columns = (
    Column("system", pl.String, "The model's label."),
    Column("metric", pl.String, "The score."),
    Column("kept", pl.Int64, "How long narrow tables keep the score (see Score.kept)."),
    Column("start", pl.Float64, "What the caption that no reference is scores as text."),
    Column("step", pl.String, f"To what points are lost: {', '.join(STEPS)}."),
    Column("lost", pl.Float64, "How many points that step takes, in percent."),
    Column("low", pl.Float64, "The lower end of its confidence interval."),
    Column("high", pl.Float64, "The upper end of its confidence interval."),
    Column("end", pl.Float64, "What the model scores in the table."),
)


@dataclass(frozen=True)
class Waterfall:
    """One model's way down: the score that remains after every step, and what each took.

    `kept` is what `Score.kept` says. `lost` are points with their intervals: metric → step →
    (points, low, high).
    """

    system: str
    kept: dict[str, int]
    start: dict[str, float]
    end: dict[str, float]
    lost: dict[str, dict[str, tuple[float, float, float]]]


def _ceilings(row: Row, rows: Sequence[Row]) -> tuple[Row, Row] | None:
    """Recorded and resynthesised speech, transcribed by the model's own ASR."""

    def bound(loss: str, codec: str) -> Row | None:
        for other in rows:
            cell = other.cell
            alike = cell.system.loss == loss and cell.asr == row.cell.asr and cell.codec == codec
            if alike and other.outcome.mark != NONE:
                return other
        return None

    recorded, resynthesis = bound("ASR", ""), bound("codec", row.cell.codec)
    return (recorded, resynthesis) if recorded and resynthesis else None


def waterfalls(rows: Sequence[Row], scorer: Scorer) -> list[Waterfall]:
    """One for every model without a prompt whose ceilings are among the rows, mean over seeds."""
    found: list[Waterfall] = []
    text: Counted | None = None
    for row in rows:
        cell = row.cell
        # Of what was not transcribed at all nothing was lost on the way.
        if cell.system.role != Role.SYSTEM or not cell.codec or cell.prompt or not ranked(row):
            continue
        ceilings = _ceilings(row, rows)
        if ceilings is None:
            continue
        if text is None:
            names = row.first.items["item"].to_list()
            text = scorer.counted({n: scorer.captions[n][scorer.chosen[n]] for n in names})
        found.append(_waterfall(row, [text, *map(_mean, (*ceilings, row))], scorer))
    return found


def _mean(row: Row) -> Counted:
    """What was counted of a row, averaged over seeds, but for word errors of what was spoken."""
    against = [metric for metric in row.counted.metrics if metric.against != "caption"]
    counted = row.counted.only(against)
    return counted.with_values(counted.values / len(row.cells))


def _waterfall(row: Row, bars: Sequence[Counted], scorer: Scorer) -> Waterfall:
    spec = scorer.spec
    scores = bars[0].scores
    lost: dict[str, dict[str, tuple[float, float, float]]] = {s.name: {} for s in scores}
    for step, before, after in zip(STEPS, bars, bars[1:], strict=False):
        for name, found in compare(before, after, spec.replicates, seed=spec.seed).items():
            lost[name][step] = (-found.difference, -found.high, -found.low)
    ends = [{k: float(np.asarray(v)) for k, v in bar.corpus().items()} for bar in bars]
    kept = {score.name: score.kept for score in scores}
    return Waterfall(row.label, kept, ends[0], ends[-1], lost)


def waterfall_frame(rows: Sequence[Waterfall]) -> pl.DataFrame:
    """A row for every model, metric and step."""
    return pl.DataFrame(
        [
            {
                "system": row.system,
                "metric": metric,
                "kept": row.kept[metric],
                "start": row.start[metric],
                "step": step,
                "lost": points,
                "low": low,
                "high": high,
                "end": row.end[metric],
            }
            for row in rows
            for metric, steps in row.lost.items()
            for step, (points, low, high) in steps.items()
        ],
        schema=schema(COLUMNS),
    )
