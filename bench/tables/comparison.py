"""Comparison tables as Polars frames: published rows in one block, measured rows in another."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from bench.datasets.standing import OWN_DATA
from bench.jobs.tables import table_of
from bench.metrics.base import Score
from bench.metrics.counted import leading
from bench.metrics.shipped import METRICS, scores_of
from bench.scoring import taxonomy
from bench.scoring.signature import NONE
from bench.store.columns import Column, Columns, schema
from bench.tables.chance import AboveChance
from bench.tables.comparability import grade_published
from bench.tables.pooling import Row, base_of, grade_of, ranked, role
from bench.tables.protocol import Protocol
from bench.tables.published import (
    Noise,
    Published,
    PublishedRow,
    half_of,
    load_noise,
    load_published,
    noise_dataset,
)
from bench.tables.testing import SIGNIFICANT, PairTests, compare_rows

_LEFT: Columns = (
    Column("block", pl.String, "`published` or `measured`; the two are never mixed."),
    Column("grade", pl.String, "How far the row compares with the first: ✓, ≈, ✗, - for no score."),
    Column("system", pl.String, "The system's label; then what distinguishes it."),
    Column("dataset", pl.String, "The dataset."),
    Column("training", pl.String, "How the system was trained, or `ceiling`, or `floor`."),
    Column("prompt", pl.Float64, "The share of the reference speech that was given, 0 to 1."),
    Column("asr", pl.String, "The ASR, its digest and its decoding; `none` for a text."),
)
_RIGHT: Columns = (
    Column("n", pl.Int64, "The number of items, all seeds, failed ones included."),
    Column("failed", pl.Int64, "The number of failed items, all seeds; each counts as empty."),
    Column("unended", pl.Int64, "The number of speeches at the length limit, all seeds."),
    Column("seeds", pl.Int64, "The number of seeds in the row."),
    Column(
        "best",
        pl.List(pl.String),
        "The scores in which it is the best of those ranked with it, or not told apart from it; "
        "none where all are alike.",
    ),
    Column(
        "significant",
        pl.List(pl.String),
        "The scores that differ significantly from those of `base`.",
    ),
    Column("base", pl.String, "The row that it is tested against: the first of its prompt share."),
    Column("reason", pl.String, "Why the grade is not ✓; one fact a line."),
    Column("source", pl.String, "The publication, or the run."),
    Column("note", pl.String, "Further remarks of the notes; one fact a line."),
    Column("signature", pl.String, "The protocol of the scores; `*` stands for the metric."),
)
_ENDS = {
    "": "{}, in {}.",
    "_low": "The lower end of {}'s confidence interval.",
    "_high": "The upper end of {}'s confidence interval.",
}


def table_columns(scores: Sequence[Score]) -> Columns:
    """Returns a table's columns; every score has two more, the ends of its interval."""
    middle = (
        Column(f"{score.head}{end}", pl.Float64, meaning.format(score.name, score.unit))
        for score in scores
        for end, meaning in _ENDS.items()
    )
    return (*_LEFT, *middle, *_RIGHT)


def _schema(scores: Sequence[Score]) -> dict[str, Any]:
    return schema(table_columns(scores))


def heads(frame: pl.DataFrame) -> list[str]:
    """Returns the scores' columns of a table, without those of a row that has none."""
    named = [name.removesuffix("_low") for name in frame.columns if name.endswith("_low")]
    return [name for name in named if frame[name].count()]


def published_frame(
    published: Published,
    table: str,
    protocol: Protocol,
    asr: str,
    *,
    scores: Sequence[Score] = scores_of(METRICS),
) -> pl.DataFrame:
    """Returns a table's published rows, graded against a measured protocol (see grade_published).

    They are the rows on the measured dataset or, if no paper has any, on the first published one.
    For a user's own data there are none.
    """
    known = [row.dataset for row in published.rows if row.table == table]
    usual = "" if OWN_DATA in protocol.standing else next(iter(known), "")
    dataset = protocol.dataset if protocol.dataset in known else usual
    noise = load_noise()
    rows = []
    wanted = _schema(scores)
    for row in published.rows:
        if row.table == table and row.dataset == dataset:
            grade = grade_published(row, protocol, asr)
            rows.append(
                {
                    "block": "published",
                    "grade": grade.mark,
                    "reason": grade.reason,
                    "system": row.system,
                    "dataset": row.dataset,
                    "training": row.training,
                    "prompt": row.prompt,
                    "asr": row.asr or "not stated",
                    **row.scores,
                    **_implied(row, noise, protocol.confidence),
                    "source": published.sources[row.source],
                    "note": row.note,
                }
            )
    full = [dict.fromkeys(wanted) | row for row in rows]
    return pl.DataFrame(full, schema=wanted)


def _implied(row: PublishedRow, noise: Noise, confidence: float) -> dict[str, float]:
    """Returns the intervals that the number of images implies, which papers do not print."""
    ends: dict[str, float] = {}
    for head, score in row.scores.items():
        half = half_of(noise, head, score, confidence)
        if half is not None and row.dataset == noise_dataset():
            ends |= {f"{head}_low": max(score - half, 0.0), f"{head}_high": score + half}
    return ends


def _remarks(row: Row, above_chance: AboveChance) -> list[str]:
    """Returns the remarks of the notes on a single row, over all seeds (see bench.report.notes)."""
    items = row.items
    source = row.cell.source
    remarks = []
    if row.cell.name in above_chance:
        remarks.append(f"{_CHANCE}: {', '.join(above_chance[row.cell.name]) or 'none'}")
    remarks += [f"Transcripts for other images: those of {source.label}"] if source else []
    failed = taxonomy.reasons(items.filter(pl.col("status") != "ok")["reason"])
    remarks += [f"Failed items: {reason}" for reason in failed]
    for name in dict.fromkeys(name for cell in row.cells for name in cell.unmeasured):
        lost = [why for cell in row.cells for why in cell.unmeasured.get(name, ())]
        why = "; ".join(taxonomy.reasons(pl.Series(lost, dtype=pl.String)))
        remarks.append(f"{name} has no value of {len(lost)} of {row.asked} speeches: {why}")
    score = leading(row.counted.scores).name
    spread = row.seed_spread(score)
    if spread is not None:
        remarks.append(f"Standard deviation of {score} over seeds: {spread:.2f}")
    for column, stage in (("device", "transcribed"), ("generated_on", "generated")):
        devices = items.filter(pl.col(column) != "")[column].unique().sort().to_list()
        if len(devices) > 1:
            remarks.append(f"Items were {stage} on different devices: {', '.join(devices)}")
    return remarks


_CHANCE = (
    "Scores above the chance level (the same transcripts assigned to other images; paired "
    "permutation tests, 5%)"
)


def _scores(row: Row) -> dict[str, float | None]:
    """Returns a row's scores with their intervals; null if nothing was transcribed."""
    value_by_column: dict[str, float | None] = {}
    for score in row.counted.scores if row.failed < row.asked else ():
        interval = row.scores[score.name]
        ends = {"": interval.score, "_low": interval.low, "_high": interval.high}
        value_by_column |= {f"{score.head}{end}": value for end, value in ends.items()}
    return value_by_column


def _all_scores(rows: Sequence[Row]) -> tuple[Score, ...]:
    """Returns the shipped metrics' scores, and those of all other metrics in the rows."""
    scores = [*scores_of(METRICS), *(score for row in rows for score in row.counted.scores)]
    return tuple(dict.fromkeys(scores))


def measured_frame(
    rows: Sequence[Row],
    table: str,
    protocol: Protocol,
    *,
    run: str,
    tests: PairTests,
    above_chance: AboveChance,
) -> pl.DataFrame:
    """Returns a table's measured rows, in the job's order.

    Only rows with the first one's protocol are ranked. `significant` are the scores in which a row
    differs from `base`, the first ranked row of its prompt share (see bench.tables.testing).
    """
    chosen = [row for row in rows if table_of(table).belongs(row.cell)]
    competing = [row for row in chosen if ranked(row)]
    transcribed = [row for row in chosen if row.outcome.mark != NONE]
    first = next(iter([*competing, *transcribed, *chosen]), None)
    marks = compare_rows(competing, first, tests)
    places = {id(row): place for place, row in enumerate(competing)}
    values, wanted = [], _schema(_all_scores(rows))
    for row in chosen:
        assert first is not None
        grade = grade_of(row, first)
        place, base = places.get(id(row), -1), base_of(row, competing)
        different = marks.different.get(place, {})
        value_by_column = dict.fromkeys(wanted) | {
            "block": "measured",
            "grade": grade.mark,
            "reason": grade.reason,
            "system": row.label,
            "dataset": protocol.data,
            "training": role(row.cell, protocol.dataset),
            "prompt": row.cell.prompt,
            "asr": protocol.asr if row.cell.asr else "none",
            **_scores(row),
            "n": row.asked,
            "failed": row.failed,
            "unended": sum(scores.unended for scores in row.cells),
            "seeds": len(row.cells),
            "best": _heads(row, marks.best.get(place, [])),
            "significant": _heads(row, [n for n, p in different.items() if p < SIGNIFICANT]),
            "base": base.label if base is not None and base is not row and different else "",
            "source": f"pixvox run {run}",
            "note": "\n".join(_remarks(row, above_chance)),
            "signature": row.signature.text("*"),
        }
        values.append(value_by_column)
    return pl.DataFrame(values, schema=wanted)


def _heads(row: Row, names: Sequence[str]) -> list[str]:
    """Returns the headings of some of a row's scores, in order."""
    return [score.head for score in row.counted.scores if score.name in names]


def comparison(
    rows: Sequence[Row],
    table: str,
    protocol: Protocol,
    *,
    asr: str,
    run: str,
    tests: PairTests,
    above_chance: AboveChance | None = None,
) -> pl.DataFrame:
    """Returns a whole table: published rows, then measured ones; empty if it is not worthwhile.

    `above_chance` are the rows that were tested against chance (see bench.tables.chance).
    """
    kind = table_of(table)
    if not kind.worthwhile([row.cell for row in rows if kind.belongs(row.cell)]):
        return pl.DataFrame(schema=_schema(()))
    scores = _all_scores(rows)
    published = published_frame(load_published(), table, protocol, asr, scores=scores)
    measured = measured_frame(
        rows, table, protocol, run=run, tests=tests, above_chance=above_chance or {}
    )
    return pl.concat([published, measured])
