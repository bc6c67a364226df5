"""Where a model's points go: how many the ASR, the codec and the model take.

It starts at what people reach, a caption as text against the image's others, and ends at the
model's row of the table. Every bar is scored on the same images against the same references: the
caption as text, its recorded speech as an ASR transcribes it, the same through the codec, and the
model.

Where a job has speech in noise, what the model takes is split in two by a bar between: recorded
speech that says the caption, for every image as unclear as the model's speech is, which is the one
whose mean log-probability by the ASR is nearest to the model's. What is lost up to there is lost to
how clearly the model speaks, and the rest to what it says. What failed has a step of its own before
it.
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
"""In order; `failed` where items failed, `model` where clarity and content are not told apart."""

_SILENT = 10.0
"""Nats a token, with the sign turned: far below what any ASR says of what it transcribed."""

COLUMNS: Columns = (
    Column("system", pl.String, "The model's label."),
    Column("metric", pl.String, "The score."),
    Column("kept", pl.Int64, "How long narrow tables keep the score (see Score.display_priority)."),
    Column("start", pl.Float64, "What the caption that no reference is scores as text."),
    Column("step", pl.String, f"To what points are lost: {', '.join(STEPS)}."),
    Column("lost", pl.Float64, "How many points that step takes, in percent."),
    Column("low", pl.Float64, "The lower end of its confidence interval."),
    Column("high", pl.Float64, "The upper end of its confidence interval."),
    Column("end", pl.Float64, "What the model scores in the table."),
)


@dataclass(frozen=True, kw_only=True)
class Waterfall:
    """One model's way down: the score that remains after every step, and what each took.

    `priorities` are the scores' own. `lost` are points with their intervals: metric → step →
    (points, low, high).
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
    """Returns what is left after every step, seeds averaged; None where a ceiling is missing."""
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
    """Returns what is left where a row's failed items are taken out, mean over seeds."""
    each = []
    for cell in row.cells:
        failed = (cell.items["status"] != "ok").to_numpy()
        own = cell.counted.only(before.metrics).values
        each.append(np.where(failed[:, None], own, before.values))
    return before.with_values(np.mean(each, axis=0))


def _clarity(items: pl.DataFrame) -> Array:
    """The ASR's mean log-probability of every item `[n]`; far below any, where it gives none."""
    known = pl.when(status="ok").then(pl.col("avg_logprob").fill_nan(None))
    return items.select(known.fill_null(-_SILENT))["avg_logprob"].to_numpy()


def _as_unclear(row: Row, known: Sequence[Row]) -> Counted:
    """What was counted of speech that says the caption as unclearly as a row's, mean over seeds."""
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
    """One for every model without a prompt whose ceilings are among the rows, mean over seeds."""
    falls: list[Waterfall] = []
    text: Counted | None = None
    for row in rows:
        # Of what was not transcribed at all nothing was lost on the way.
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
    """What was counted of a row's words, averaged over seeds, but for errors in what was spoken."""
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
