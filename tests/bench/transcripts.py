"""Transcripts of made-up speech, as a run's ledger gives them."""

from collections.abc import Sequence

import polars as pl

from bench.datasets.base import Choice, Item


def transcribed(
    items: Sequence[Item], texts: Sequence[str], caption: Choice, clarity: float = 0.0
) -> pl.DataFrame:
    """A cell's table (see RunState.transcripts); `clarity` is the ASR's log-probability."""
    return pl.DataFrame(
        {
            "item": [item.id for item in items],
            "transcript": list(texts),
            "caption": [item.chosen(caption) for item in items],
        }
    ).with_columns(
        status=pl.lit("ok"),
        reason=pl.lit(""),
        cause=pl.lit(""),
        ended=pl.lit(True),
        seconds=pl.lit(2.0),
        peak=pl.lit(1.0),
        no_speech_prob=pl.lit(0.0),
        avg_logprob=pl.lit(clarity),
        compression_ratio=pl.lit(1.0),
        frames=pl.lit(0),
    )
