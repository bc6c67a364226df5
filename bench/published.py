"""Published rows: what papers print, with what is known of their protocol."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

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
"""A table's columns, and the metrics they stand for."""

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


def baselines_file() -> Path:
    """The published rows: inside an installed package, or `results/baselines` of a checkout."""
    here = Path(__file__).parent
    packaged = here / "_data" / "published.yaml"
    return packaged if packaged.exists() else here.parent / "results/baselines/published.yaml"


def load_published() -> Published:
    """Reads and checks the published rows."""
    published: Published = parse(baselines_file(), Published)
    return published
