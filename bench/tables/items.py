"""All cells' items as a frame, `rows.parquet`: transcripts, scores, and kinds of failure."""

from collections.abc import Sequence

import polars as pl

from bench.common.text import as_reason
from bench.datasets.base import Dataset
from bench.metrics.base import CorpusMetric, needs_caption
from bench.metrics.shipped import scores_of
from bench.scoring.scorer import CellScores
from bench.scoring.taxonomy import KINDS
from bench.store.columns import Column, Columns, declared
from bench.store.rows import JOINED, TRANSCRIBED


def item_columns(metrics: Sequence[CorpusMetric]) -> Columns:
    """Returns the columns of `rows.parquet`."""
    own = scores_of([metric for metric in metrics if not needs_caption(metric)])
    return (
        *TRANSCRIBED,
        *JOINED,
        Column("tokens", pl.String, "The transcript, normalised and tokenised."),
        *(Column(s.name, pl.Float64, f"The item's own {s.name}, in {s.unit}.") for s in own),
        *(Column(kind, pl.Boolean, meaning) for kind, meaning in KINDS.items()),
        Column("system", pl.String, "The system's label."),
        Column("pattern", pl.String, "The pattern of its codebooks; empty if it has none."),
        Column("prompt", pl.Float64, "The share of the reference speech that was given, 0 to 1."),
        Column("cell", pl.String, "The cell's name, as in `scores.parquet`."),
    )


def items_frame(scores: Sequence[CellScores], dataset: Dataset) -> pl.DataFrame:
    """Returns a row for every item of every cell.

    Entries of the split that cannot be scored are failed rows with their reason.
    """
    unusable = pl.DataFrame(
        [
            {"item": n, "status": "failed", "reason": as_reason(f"not scored: {r}")}
            for n, r in dataset.unusable
        ],
        schema={"item": pl.String, "status": pl.String, "reason": pl.String},
    )
    # A text has the columns of speech too, as nulls.
    metrics = dict.fromkeys(metric for s in scores for metric in s.counted.metrics)
    frames = [
        declared(
            pl.concat([s.items, unusable], how="diagonal").with_columns(
                system=pl.lit(s.cell.label),
                pattern=pl.lit(s.cell.pattern),
                prompt=pl.lit(s.cell.prompt),
                cell=pl.lit(s.cell.name),
            ),
            item_columns(list(metrics)),
        )
        for s in scores
    ]
    return pl.concat(frames)
