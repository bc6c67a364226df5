"""Tables in Polars: published rows in one block, measured rows in another, nothing mixed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import polars as pl
from pydantic import Field, field_validator

from bench.scoring import CellScores
from bench.systems.specs import CEILINGS, PixVoxSpec
from bench.yamlfile import Strict, parse

SCORES = {
    "B1": "BLEU-1",
    "B2": "BLEU-2",
    "B3": "BLEU-3",
    "B4": "BLEU-4",
    "M": "METEOR",
    "R": "ROUGE-L",
    "C": "CIDEr",
}
TITLES = {
    "table1": "Table I: systems without a prompt",
    "table2": "Table II: speech completion, a share of the reference speech given as a prompt",
}
Percent = Annotated[float, Field(ge=0, le=1000)]


class PublishedRow(Strict):
    """One row of a paper, with what is known of its protocol."""

    table: Literal["table1", "table2"]
    system: str
    prompt: Annotated[float, Field(ge=0, lt=1)] = 0.0
    training: str
    dataset: str
    asr: str
    speech: str
    source: str
    scores: dict[str, Percent]
    note: str = ""

    @field_validator("scores")
    @classmethod
    def _known(cls, scores: dict[str, float]) -> dict[str, float]:
        unknown = scores.keys() - SCORES.keys()
        if unknown:
            raise ValueError(f"unknown scores {sorted(unknown)}; choose from {', '.join(SCORES)}")
        return scores


class Published(Strict):
    """The file of published rows; every row's source is one of `sources`."""

    sources: dict[str, str]
    rows: tuple[PublishedRow, ...]


@dataclass(frozen=True)
class Protocol:
    """What all measured rows of a run share; it is printed under every table."""

    dataset: str
    split: str
    dataset_digest: str
    speech: str
    items: int
    of: int
    asr: str
    references: str
    unusable: int = 0


def baselines_file() -> Path:
    """The published rows: inside an installed package, or `results/baselines` of a checkout."""
    here = Path(__file__).parent
    packaged = here / "_data" / "published.yaml"
    return packaged if packaged.exists() else here.parent / "results/baselines/published.yaml"


def load_published() -> Published:
    """Reads and checks the published rows."""
    published: Published = parse(baselines_file(), Published)
    return published


def published_frame(published: Published, table: str) -> pl.DataFrame:
    """A table's published rows."""
    rows = [
        {
            "block": "published",
            "system": row.system,
            "dataset": row.dataset,
            "training": row.training,
            "prompt": row.prompt,
            "asr": row.asr,
            **{name: row.scores.get(name) for name in SCORES},
            "WER": None,
            "n": None,
            "failed": None,
            "unended": None,
            "source": published.sources[row.source],
            "note": row.note,
        }
        for row in published.rows
        if row.table == table
    ]
    return pl.DataFrame(rows, schema=_SCHEMA)


_SCHEMA = {
    "block": pl.String,
    "system": pl.String,
    "dataset": pl.String,
    "training": pl.String,
    "prompt": pl.Float64,
    "asr": pl.String,
    **dict.fromkeys(SCORES, pl.Float64),
    "WER": pl.Float64,
    "n": pl.Int64,
    "failed": pl.Int64,
    "unended": pl.Int64,
    "source": pl.String,
    "note": pl.String,
}


def _belongs(scores: CellScores, table: str) -> bool:
    model = isinstance(scores.cell.system, PixVoxSpec)
    return scores.cell.prompt == 0 if table == "table1" else model


def _remarks(scores: CellScores) -> list[str]:
    """Why items failed, and how many were cut off, for the note under the table."""
    remarks = list(scores.reasons)
    if scores.unended:
        remarks.append(f"{scores.unended} of {scores.n} reached the length limit")
    for column in ("device", "spoken_on"):
        devices = scores.items.filter(pl.col(column) != "")[column].unique().sort().to_list()
        if len(devices) > 1:
            remarks.append(f"rows were made on different devices: {', '.join(devices)}")
    return remarks


def measured_frame(
    scores: Sequence[CellScores], table: str, protocol: Protocol, run: str
) -> pl.DataFrame:
    """A table's measured rows, in the job's order."""
    rows = [
        {
            "block": "measured",
            "system": s.cell.label,
            "dataset": protocol.dataset,
            "training": "single model" if not isinstance(s.cell.system, CEILINGS) else "ceiling",
            "prompt": s.cell.prompt,
            "asr": protocol.asr,
            **{short: s.corpus[long] for short, long in SCORES.items()},
            "WER": s.wer,
            "n": s.n,
            "failed": s.failed,
            "unended": s.unended,
            "source": f"pixvox run {run}",
            "note": "; ".join(_remarks(s)),
        }
        for s in scores
        if _belongs(s, table)
    ]
    return pl.DataFrame(rows, schema=_SCHEMA)


def comparison(
    scores: Sequence[CellScores], table: str, protocol: Protocol, run: str
) -> pl.DataFrame:
    """A whole table: the published block, then the measured one."""
    published = published_frame(load_published(), table)
    return pl.concat([published, measured_frame(scores, table, protocol, run)])
