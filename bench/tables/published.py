"""Published rows: what papers print, with what is known of their protocol."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from bench.common.yamlfile import Strict, parse
from bench.jobs.tables import TableName
from bench.metrics.shipped import METRICS, scores_of

HEADS = tuple(score.head for score in scores_of(METRICS))
"""The columns under which papers may print a score."""

Percent = Annotated[float, Field(ge=0, le=1000)]


class PublishedRow(Strict):
    """One row of a paper, with what is known of its protocol."""

    table: TableName
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
        unknown = scores.keys() - set(HEADS)
        if unknown:
            raise ValueError(f"unknown scores {sorted(unknown)}; choose from {', '.join(HEADS)}")
        return scores


class Published(Strict):
    """The file of published rows; every row's source is one of `sources`."""

    sources: dict[str, str]
    rows: tuple[PublishedRow, ...]


def baselines_file() -> Path:
    """The published rows: inside an installed package, or `results/baselines` of a checkout."""
    here = Path(__file__).parents[1]
    packaged = here / "_data" / "published.yaml"
    return packaged if packaged.exists() else here.parent / "results/baselines/published.yaml"


def load_published() -> Published:
    """Reads and checks the published rows."""
    published: Published = parse(baselines_file(), Published)
    return published
