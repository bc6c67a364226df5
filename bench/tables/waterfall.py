"""Where a model's points go: how many the references, the ASR, the codec and the model take.

Every bar is scored on the same images against the same references, those without caption c:
the caption itself among all of them, the caption against the others, its recorded speech as an
ASR transcribes it, the same through the codec, and the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from bench.jobs.cells import Cell
from bench.metrics.counted import Counted
from bench.scoring.inference import compare
from bench.scoring.scorer import CellScores, Scorer
from bench.scoring.signature import NONE
from bench.store.columns import Column, Columns, schema
from bench.systems.base import Role
from bench.tables.pooling import Row, ranked

STEPS = ("references", "ASR", "codec", "model")

COLUMNS: Columns = (
    Column("system", pl.String, "The model's label."),
    Column("metric", pl.String, "The score."),
    Column("kept", pl.Int64, "How long narrow tables keep the score (see Score.kept)."),
    Column("start", pl.Float64, "What a caption scores among all references, itself included."),
    Column("step", pl.String, f"To what points are lost: {', '.join(STEPS)}."),
    Column("lost", pl.Float64, "How many points that step takes, in percent."),
    Column("low", pl.Float64, "The lower end of its confidence interval."),
    Column("high", pl.Float64, "The upper end of its confidence interval."),
    Column("end", pl.Float64, "What the model scores, against the references without the caption."),
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


def _ceilings(cell: Cell, found: Sequence[CellScores]) -> tuple[CellScores, CellScores] | None:
    """Recorded and resynthesised speech of one caption, transcribed by the model's own ASR."""
    for recorded in found:
        first = recorded.cell.system
        if first.loss != "ASR" or recorded.cell.asr != cell.asr:
            continue
        for other in found:
            system = other.cell.system
            if (
                system.loss == "codec"
                and system.recordings() == first.recordings()
                and other.cell.asr == cell.asr
                and other.cell.codec == cell.codec
            ):
                return recorded, other
    return None


def waterfalls(rows: Sequence[Row], scorer: Scorer) -> list[Waterfall]:
    """One for every model without a prompt whose ceilings are among the rows, mean over seeds."""
    found: list[Waterfall] = []
    singles = [row.first for row in rows if row.outcome.mark != NONE]
    made: dict[tuple[str, int], Counted] = {}

    def counted(name: str, hypotheses: dict[str, str], left_out: int) -> Counted:
        # What several models share is scored once.
        if (name, left_out) not in made:
            references = scorer.without(dict.fromkeys(scorer.references, left_out))
            made[name, left_out] = scorer.counted(hypotheses, references)
        return made[name, left_out]

    for row in rows:
        if row.cell.system.role != Role.SYSTEM or not row.cell.codec or row.cell.prompt > 0:
            continue
        if not ranked(row):
            # Of what was not transcribed at all nothing was lost on the way.
            continue
        ceilings = _ceilings(row.cell, singles)
        if ceilings is None:
            continue
        recorded, resynthesis = ceilings
        caption = recorded.cell.system.recordings()
        assert caption is not None
        if any(len(texts) <= max(caption, 1) for texts in scorer.references.values()):
            # Without that caption, or any beside it, there is nothing to fall from.
            continue
        names = row.first.items["item"].to_list()
        text = {name: scorer.references[name][caption] for name in names}
        seeds = [counted(c.cell.transcript_key, _tokens(c), caption) for c in row.cells]
        bars = [
            counted("text", text, -1),
            counted("text", text, caption),
            *(counted(c.cell.transcript_key, _tokens(c), caption) for c in (recorded, resynthesis)),
            seeds[0].with_values(np.mean([one.values for one in seeds], axis=0)),
        ]
        found.append(_waterfall(row, bars, scorer.spec.replicates, scorer.spec.seed))
    return found


def _tokens(found: CellScores) -> dict[str, str]:
    return dict(found.items.select("item", "tokens").iter_rows())


def _waterfall(row: Row, bars: Sequence[Counted], replicates: int, seed: int) -> Waterfall:
    scores = bars[0].scores
    lost: dict[str, dict[str, tuple[float, float, float]]] = {s.name: {} for s in scores}
    for step, before, after in zip(STEPS, bars, bars[1:], strict=False):
        for name, found in compare(before, after, replicates, seed=seed).items():
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
