"""The waterfall: how many points of a score the ASR, the codec and the model lose.

It starts at people's score, a caption as text against the image's other captions, and ends at the
model's row of the table. Every bar is scored on the same images against the same references: the
caption as text, its recorded speech as an ASR transcribes it, the same through the codec, and the
model.

If a job has speech in noise, the model's loss is split by another bar: recorded speech of the
caption, for every image as unclear as the model's speech. That is the recording whose mean
log-probability by the ASR is the nearest to the model's. The loss up to this bar comes from unclear
speech, the rest from its content. Failed items are a step before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from bench.metrics.base import Array, is_of_words
from bench.metrics.counted import Counted
from bench.scoring.inference import drawn_differences, interval_ends
from bench.scoring.scorer import Scorer
from bench.scoring.signature import NONE
from bench.store.columns import Column, Columns, schema
from bench.systems.base import Loss, Role
from bench.tables.pooling import Row, ranked

STEPS = ("ASR", "codec", "failed", "clarity", "content", "model")
"""The steps; `failed` if items failed, `model` if clarity and content are not separated."""

_SILENT = 10.0
"""Nats a token, sign reversed: far below an ASR's log-probability of any transcript."""

COLUMNS: Columns = (
    Column("system", pl.String, "The model's label."),
    Column("metric", pl.String, "The score."),
    Column("kept", pl.Int64, "Priority in narrow tables (see Score.display_priority)."),
    Column("start", pl.Float64, "The score of the left-out caption as text."),
    Column("step", pl.String, f"What loses the points: {', '.join(STEPS)}."),
    Column("lost", pl.Float64, "The points lost in that step, in percent."),
    Column("low", pl.Float64, "The lower end of its confidence interval."),
    Column("high", pl.Float64, "The upper end of its confidence interval."),
    Column("end", pl.Float64, "The model's score in the table."),
)


@dataclass(frozen=True, kw_only=True)
class Waterfall:
    """The waterfall of one model: the score after every step, and the points that each step loses.

    `priorities` are the scores' display priorities. `lost` are points with their intervals: metric
    → step → (points, low, high).
    """

    system: str
    priorities: dict[str, int]
    start: dict[str, float]
    end: dict[str, float]
    lost: dict[str, dict[str, tuple[float, float, float]]]


def _ceiling(row: Row, rows: Sequence[Row], loss: Loss, codec: str = "") -> Row | None:
    """Returns the row of a ceiling that the model's own ASR has transcribed."""
    for other in rows:
        cell = other.cell
        alike = cell.system.loss == loss and cell.asr == row.cell.asr and cell.codec == codec
        if alike and other.outcome.mark != NONE:
            return other
    return None


def _bars(row: Row, rows: Sequence[Row]) -> dict[str, Counted] | None:
    """Returns the statistics after every step, seeds averaged; None if a ceiling is missing."""
    recorded = _ceiling(row, rows, "ASR")
    codec = _ceiling(row, rows, "codec", row.cell.codec) if row.cell.codec else None
    if recorded is None or (row.cell.codec and codec is None):
        return None
    bars = {"ASR": _mean(recorded)} | ({"codec": _mean(codec)} if codec else {})
    if row.failed:
        bars["failed"] = _with_failures(row, list(bars.values())[-1])
    noisy = [other for other in rows if other.cell.system.loss == "clarity"]
    clear = [recorded, *([codec] if codec else []), *noisy]
    alike = [other for other in clear if other.cell.asr == row.cell.asr]
    if noisy and not row.items["avg_logprob"].is_nan().all():
        return bars | {"clarity": _as_unclear(row, alike), "content": _mean(row)}
    return bars | {"model": _mean(row)}


def _with_failures(row: Row, before: Counted) -> Counted:
    """Returns the statistics with a row's failed items removed, averaged over seeds."""
    each = []
    for cell in row.cells:
        failed = (cell.items["status"] != "ok").to_numpy()
        own = cell.counted.only(before.metrics).values
        each.append(np.where(failed[:, None], own, before.values))
    return before.with_values(np.mean(each, axis=0))


def _clarity(items: pl.DataFrame) -> Array:
    """Returns the ASR's mean log-probability of each item `[n]`; very low if it has none."""
    known = pl.when(status="ok").then(pl.col("avg_logprob").fill_nan(None))
    return items.select(known.fill_null(-_SILENT))["avg_logprob"].to_numpy()


def _as_unclear(row: Row, known: Sequence[Row]) -> Counted:
    """Returns statistics of the caption's speech, as unclear as a row's; averaged over seeds."""
    clarity = np.stack([_clarity(other.first.items) for other in known])
    values = np.stack([_mean(other).values for other in known])
    like = _mean(known[0])
    each = []
    for cell in row.cells:
        wanted = _clarity(cell.items)
        nearest = np.abs(clarity - wanted).argmin(0)
        failed = (cell.items["status"] != "ok").to_numpy()
        alike = values[nearest, np.arange(len(wanted))]
        each.append(np.where(failed[:, None], cell.counted.only(like.metrics).values, alike))
    return like.with_values(np.mean(each, axis=0))


def waterfalls(rows: Sequence[Row], scorer: Scorer) -> list[Waterfall]:
    """Returns one for every model without a prompt whose ceilings are among the rows."""
    falls: list[Waterfall] = []
    text: Counted | None = None
    for row in rows:
        # A model without any transcript has no waterfall.
        if row.cell.system.role != Role.SYSTEM or row.cell.prompt or not ranked(row):
            continue
        bars = _bars(row, rows)
        if bars is None:
            continue
        if text is None:
            names = row.first.items["item"].to_list()
            text = scorer.counted({n: scorer.captions[n][scorer.chosen[n]] for n in names})
        falls.append(_waterfall(row, text, bars, scorer))
    return falls


def _mean(row: Row) -> Counted:
    """Returns statistics of a row's words over seeds, without errors against the caption."""
    counted = row.counted.only([metric for metric in row.counted.metrics if is_of_words(metric)])
    return counted.with_values(counted.values / len(row.cells))


def _waterfall(row: Row, text: Counted, bars: Mapping[str, Counted], scorer: Scorer) -> Waterfall:
    scores, resampling = text.scores, scorer.spec.resampling
    lost: dict[str, dict[str, tuple[float, float, float]]] = {s.name: {} for s in scores}
    for (step, after), before in zip(bars.items(), [text, *bars.values()], strict=False):
        for name, (gained, replicates) in drawn_differences(before, after, resampling).items():
            low, high = interval_ends(replicates, resampling.confidence)
            lost[name][step] = (0.0 - gained, 0.0 - high, 0.0 - low)
    start, end = (
        {name: float(np.asarray(value)) for name, value in bar.corpus().items()}
        for bar in (text, list(bars.values())[-1])
    )
    priorities = {score.name: score.display_priority for score in scores}
    return Waterfall(system=row.label, priorities=priorities, start=start, end=end, lost=lost)


def waterfall_frame(rows: Sequence[Waterfall]) -> pl.DataFrame:
    """Returns a row for every model, metric and step."""
    return pl.DataFrame(
        [
            {
                "system": row.system,
                "metric": metric,
                "kept": row.priorities[metric],
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
