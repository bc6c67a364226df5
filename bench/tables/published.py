"""Published rows: what papers print, with what is known of their protocol."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from bench.common.yamlfile import Strict, parse
from bench.jobs.tables import TableName
from bench.metrics.shipped import METRICS, scores_of

HEADS = tuple(score.head for score in scores_of(METRICS))
"""The columns under which papers may print a score."""

Percent = Annotated[float, Field(ge=0, le=1000)]


class PublishedRow(Strict):
    """One row of a paper, with what is known of its protocol; `null` is what no source states.

    `components` says whether one model makes speech of the image or several do, one after the
    other. `speech` is what the system was trained to say, natural or synthesised, and
    `training_data` the datasets it was trained on. `asr_adapted` says whether the ASR that
    transcribed it was trained on speech like its own. `n` images were scored, over `seeds` seeds.
    """

    table: TableName
    system: str
    prompt: Annotated[float, Field(ge=0, lt=1)] = 0.0
    components: Literal["one", "several"]
    dataset: str
    training_data: tuple[str, ...] | None = None
    speech: Literal["natural", "synthesised"] | None = None
    asr: str | None = None
    asr_adapted: bool | None = None
    n: int | None = None
    seeds: int | None = None
    source: str
    scores: dict[str, Percent]
    note: str = ""

    @property
    def training(self) -> str:
        """What stands in the tables' column `training`."""
        return {"one": "single model", "several": "multiple models"}[self.components]

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
