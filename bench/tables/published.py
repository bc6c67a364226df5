"""Published rows: the scores that papers print, with what is known of their protocol."""

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import hypot
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from pydantic import Field, field_validator

from bench.common.resampling import Resampling
from bench.common.yamlfile import Strict, parse
from bench.jobs.tables import TableName
from bench.metrics.shipped import METRICS, scores_of

HEADS = tuple(score.head for score in scores_of(METRICS))
"""The columns in which papers may print a score."""

Percent = Annotated[float, Field(ge=0, le=1000)]


class PublishedRow(Strict):
    """One row of a paper, with what is known of its protocol; `null` if no source states it.

    `components` says whether one model generates speech from the image, or several in sequence.
    `speech` is the kind of its training speech, natural or synthesised, and `training_data` the
    datasets that it was trained on. `asr_adapted` says whether its ASR was trained on speech like
    its own. `n` images were scored, over `seeds` seeds.
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
        """The entry in the tables' column `training`."""
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


def _baselines(name: str) -> Path:
    """Returns the file of published rows in an installed package, or in a checkout."""
    here = Path(__file__).parents[1]
    packaged = here / "_data" / name
    return packaged if packaged.exists() else here.parent / "results" / "baselines" / name


def load_published() -> Published:
    """Reads and checks the published rows."""
    published: Published = parse(_baselines("published.yaml"), Published)
    return published


Noise = Mapping[str, Sequence[tuple[float, float]]]
"""A score's heading → scores, lowest first, each with half of its interval on IMAGES images."""
IMAGES = 1000
"""The number of images in Flickr8k's test split, on which published rows were scored."""
MEASURED_CONFIDENCE = Resampling.confidence
"""The confidence level of the intervals in `Noise`."""


def _noise_file() -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(_baselines("noise.json").read_text(encoding="utf-8"))
    return facts


def load_noise() -> Noise:
    """Returns intervals of scores, as measured by `python -m tests.evidence.published`."""
    noise: Noise = _noise_file()["halves"]
    return noise


def noise_dataset() -> str:
    """Returns the dataset on which they were measured."""
    return str(_noise_file()["captions"])


def half_of(
    noise: Noise, head: str, score: float, confidence: float = MEASURED_CONFIDENCE
) -> float | None:
    """Returns half of the interval of a score, interpolated between measured ones.

    For another confidence level it is scaled by the normal quantiles.
    """
    if head not in noise:
        return None
    scores, halves = zip(*noise[head], strict=True)
    reach, measured = (
        NormalDist().inv_cdf((1 + share) / 2) for share in (confidence, MEASURED_CONFIDENCE)
    )
    return float(np.interp(score, scores, halves)) * (reach / measured)


def not_told_apart(frame: pl.DataFrame, noise: Noise) -> list[str]:
    """Returns pairs of a table's published rows, with the scores that do not differ significantly.

    Two scores of independent systems differ at 5% if their difference is larger than the root of
    the sum of both squared halves.
    """
    pairs = []
    for first, second in combinations(frame.filter(block="published").to_dicts(), 2):
        heads = []
        for head in (head for head in HEADS if None not in (first[head], second[head])):
            a, b = half_of(noise, head, first[head]), half_of(noise, head, second[head])
            if a and b and abs(first[head] - second[head]) < hypot(a, b):
                heads.append(head)
        if heads and first["prompt"] == second["prompt"]:
            pairs.append(f"{first['system']} and {second['system']} in {', '.join(heads)}")
    return pairs
