"""Scores a job with one set of references: its cells, and the rows of tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import polars as pl

from bench.asr.base import Asr, Facts
from bench.datasets.base import Dataset
from bench.jobs.cells import Cell
from bench.jobs.spec import Job, ScoringSpec
from bench.metrics.shipped import METRICS, scores_of
from bench.scoring.scorer import CellScores, Scorer
from bench.tables.chance import AboveChance, scores_above_chance
from bench.tables.pooling import Row, pooled
from bench.tables.protocol import Protocol
from bench.tables.waterfall import Waterfall, waterfalls

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Transcribed:
    """The input of tables: a job, its data, and the transcripts of all cells.

    `facts` are what each ASR's transcripts depend on, `items` is the number of items of the job,
    and `cache` the folder for data that metrics compute from the references.
    """

    job: Job
    dataset: Dataset
    facts: Mapping[Asr, Facts]
    items: int
    cells: Sequence[tuple[Cell, pl.DataFrame]]
    cache: Path


@dataclass(frozen=True, kw_only=True)
class ScoredReading:
    """The scores of cells with one set of references, and the rows of tables of one ASR.

    `above_chance` are the rows of systems that were trained on other data (see
    bench.tables.chance).
    """

    protocol: Protocol
    scores: Sequence[CellScores]
    rows: Sequence[Row]
    falls: Sequence[Waterfall]
    above_chance: AboveChance


def score_readings(transcribed: Transcribed) -> tuple[ScoredReading, ...]:
    """Scores the job with each of its sets of references, its own first."""
    scoring = transcribed.job.scoring
    return tuple(
        _scored(
            transcribed,
            scoring.with_reading(name),
            lambda scorer, scores: _reading(transcribed, scorer, scores),
        )
        for name in scoring.readings
    )


def score_normalisers(transcribed: Transcribed) -> list[CellScores]:
    """Scores the job with each normaliser after the first."""
    scoring = transcribed.job.scoring
    return [
        cell_scores
        for name in scoring.normalisers[1:]
        for cell_scores in _scored(
            transcribed, scoring.with_normaliser(name), lambda _, scores: scores
        )
    ]


def _scored(
    transcribed: Transcribed, spec: ScoringSpec, use: Callable[[Scorer, list[CellScores]], T]
) -> T:
    """Returns what `use` computes from the cells' scores while their scorer is open."""
    caption = transcribed.job.caption
    with Scorer(
        transcribed.dataset, spec, transcribed.facts, transcribed.cache, caption=caption
    ) as scorer:
        return use(scorer, scorer.score_all(transcribed.cells))


def _reading(
    transcribed: Transcribed, scorer: Scorer, scores: Sequence[CellScores]
) -> ScoredReading:
    job = transcribed.job
    own = [s for s in scores if s.cell.asr is None or s.cell.asr == job.asrs[0]]
    rows = pooled(own, job.scoring.resampling)
    return ScoredReading(
        protocol=_protocol(transcribed, scorer),
        scores=scores,
        rows=rows,
        falls=waterfalls(rows, scorer) if scorer.spec.readings[0] == "others" else [],
        above_chance=scores_above_chance(rows, transcribed.dataset.name, scorer),
    )


def _protocol(transcribed: Transcribed, scorer: Scorer) -> Protocol:
    job, dataset, facts = transcribed.job, transcribed.dataset, transcribed.facts
    return Protocol(
        dataset=dataset.name,
        split=dataset.split,
        dataset_digest=dataset.digest,
        speech=dataset.speech_kind,
        items=transcribed.items,
        of=dataset.of,
        asr=job.asrs[0].in_words(facts[job.asrs[0]]) if facts else "none",
        references=scorer.spec.readings[0],
        left_out=scorer.left_out,
        normaliser=job.scoring.normalisers[0],
        confidence=job.scoring.confidence,
        unusable=len(dataset.unusable),
        standing=dataset.standing,
        legend=tuple(
            (score.head, score.name, score.unit)
            for score in scores_of(scorer.metrics)
            if score not in scores_of(METRICS)
        ),
    )
