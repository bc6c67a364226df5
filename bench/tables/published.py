"""Published rows: what papers print, with what is known of their protocol."""

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


def _baselines(name: str) -> Path:
    """Returns a file of published rows: inside an installed package, or of a checkout."""
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
"""How many images Flickr8k's test split has, on which published rows were scored."""
MEASURED_CONFIDENCE = Resampling.confidence
"""The confidence of the intervals whose halves `Noise` has."""


def _noise_file() -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(_baselines("noise.json").read_text(encoding="utf-8"))
    return facts


def load_noise() -> Noise:
    """Returns how uncertain scores are, as `python -m tests.evidence.published` measured it."""
    noise: Noise = _noise_file()["halves"]
    return noise


def noise_dataset() -> str:
    """Returns the dataset whose images and captions that was measured with."""
    return str(_noise_file()["captions"])


def half_of(
    noise: Noise, head: str, score: float, confidence: float = MEASURED_CONFIDENCE
) -> float | None:
    """Returns half of the interval that belongs to a score, between those that were measured.

    For a confidence other than the measured one it is scaled by the normal quantiles.
    """
    if head not in noise:
        return None
    scores, halves = zip(*noise[head], strict=True)
    reach, measured = (
        NormalDist().inv_cdf((1 + share) / 2) for share in (confidence, MEASURED_CONFIDENCE)
    )
    return float(np.interp(score, scores, halves)) * (reach / measured)


def not_told_apart(frame: pl.DataFrame, noise: Noise) -> list[str]:
    """Pairs of a table's published rows, and the scores in which they differ less than by noise.

    Two scores of independent systems differ at 5% where their difference is more than the root of
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
