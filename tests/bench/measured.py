"""Measured rows without a run: cells of made-up words, scored, and tables of them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.asr.shipped import DEFAULT
from bench.common.resampling import Resampling
from bench.jobs.cells import Cell
from bench.report.notes import notes
from bench.scoring.inference import intervals
from bench.scoring.scorer import CellScores, taxonomy
from bench.scoring.signature import Signature
from bench.systems.base import System
from bench.systems.wavs import WavsSystem
from bench.tables.comparison import comparison
from bench.tables.pooling import Row, pooled
from bench.tables.protocol import Protocol
from bench.tables.testing import PairTests
from tests.evidence.rates import said, statistics_of

ITEMS = 40
PROTOCOL = Protocol(
    dataset="scenes",
    split="test",
    dataset_digest="0" * 16,
    speech="synthetic",
    items=ITEMS,
    of=2 * ITEMS,
    asr="tiny.en",
    references="all",
)
SIGNATURE = Signature(
    data="scenes.test@0",
    references="all",
    left_out="none",
    per_image="5",
    normaliser="none",
    tokeniser="ptb",
    metrics="m",
    idf="i",
    asr="tiny.en",
    part="whole",
    codec="",
    weights="",
    seeds="",
    n=ITEMS,
    failed=0,
    version="0",
)
DRAWN = Resampling(replicates=100)


def cell_scores(label: str, failed: int = 0, cause: str = "", **changes: Any) -> CellScores:
    """A cell of which the first items failed; what it says is better with a smaller seed."""
    # Unvalidated: tables must not rely on what a job file refuses in a label.
    wavs = WavsSystem.model_construct(kind="wavs", label=label, folder=Path("x"))
    system: System = changes.get("system") or wavs
    counted = statistics_of(said(ITEMS, np.random.default_rng(changes.get("seed", 0))))
    worse = statistics_of(said(ITEMS, np.random.default_rng(99)))
    counted.values[:failed] = worse.values[:failed] * 0.5
    status = ["failed"] * failed + ["ok"] * (ITEMS - failed)
    items = pl.DataFrame(
        {
            "item": [f"i{number}" for number in range(ITEMS)],
            "status": status,
            "reason": [
                f"i{number}.wav: no such file" if s != "ok" else ""
                for number, s in enumerate(status)
            ],
            "cause": [cause if s != "ok" else "" for s in status],
            "device": [""] * ITEMS,
            "generated_on": [""] * ITEMS,
            "ended": [True] * ITEMS,
        }
    )
    prompt = changes.get("prompt", 0.0)
    cell = Cell(
        label=label,
        system=system,
        pattern="",
        prompt=prompt,
        asr=DEFAULT,
        part="whole",
        speech_key=f"s{label}",
        transcript_key=f"h{label}",
    )
    return CellScores(
        cell=cell,
        counted=counted,
        scores=intervals(counted, DRAWN),
        items=items,
        n=ITEMS,
        failed=failed,
        unended=0,
        kinds=dict.fromkeys(taxonomy.KINDS, 0.0),
        signature=replace(SIGNATURE, failed=failed),
    )


def rows_of(*scores: CellScores) -> list[Row]:
    """The rows of a table of these cells."""
    return pooled(scores, DRAWN)


def table_frame(rows: Sequence[Row], table: str = "table1") -> pl.DataFrame:
    """A table of rows, with what is published."""
    return comparison(rows, table, PROTOCOL, asr="tiny.en", run="trial", tests=PairTests(DRAWN))


def notes_of(frame: pl.DataFrame, left_out: Sequence[str] = ()) -> list[str]:
    """The notes of a table without a prompt, each as its text."""
    return [note.text for note in notes(frame, "table1", PROTOCOL, left_out)]
