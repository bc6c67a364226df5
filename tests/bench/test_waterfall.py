"""Where points go: the parts add up, and what is said and how clearly are told apart."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from transcripts import transcribed

from bench.asr.shipped import DEFAULT
from bench.datasets.base import Dataset
from bench.jobs.cells import Cell
from bench.jobs.spec import ScoringSpec
from bench.scoring.scorer import Scorer
from bench.systems.base import System
from bench.systems.noisy import NoisySystem
from bench.systems.python import PythonSystem
from bench.systems.recorded import RecordedSystem
from bench.tables.pooling import Row, pooled
from bench.tables.waterfall import Waterfall, waterfalls

pytestmark = pytest.mark.slow

ITEMS = 24
CLEAR, UNCLEAR = -0.1, -0.8
SYSTEM = PythonSystem(kind="python", label="system", entry="a:B")


def _half_heard(texts: Sequence[str]) -> list[str]:
    return [" ".join("la" if n % 2 else w for n, w in enumerate(t.split())) for t in texts]


def _falls(
    data: Dataset, cache: Path, said: Sequence[str], clarity: float, failed: int = 0
) -> Waterfall:
    """The waterfall of a system of which the ASR heard this, between clear and noisy captions.

    Of the first items it has no speech.
    """
    captions = [item.captions[item.chosen("rotating")].text for item in data.items]
    rows: list[tuple[System, Sequence[str], float]] = [
        (RecordedSystem(kind="recorded"), captions, CLEAR),
        (NoisySystem(kind="noisy", snr=(0.0,)), _half_heard(captions), UNCLEAR),
        (SYSTEM, said, clarity),
    ]
    with Scorer(
        data, ScoringSpec(replicates=100), {DEFAULT: {"weights": "w", "protocol": 1}}, cache
    ) as scorer:
        scores = [
            scorer.score(
                Cell(
                    label=system.label,
                    system=system,
                    pattern="",
                    prompt=0.0,
                    asr=DEFAULT,
                    part="whole",
                    speech_key=system.kind,
                    transcript_key=system.kind,
                ),
                transcribed(data.items, texts, "rotating", sure).with_columns(
                    status=pl.Series(["failed"] * lost + ["ok"] * (ITEMS - lost))
                ),
            )
            for system, texts, sure in rows
            for lost in (failed if system is SYSTEM else 0,)
        ]
        table: list[Row] = pooled(scores, scorer.spec.resampling)
        (fall,) = waterfalls(table, scorer)
    return fall


@pytest.fixture
def data(scenes: Dataset) -> Dataset:
    return replace(scenes, items=scenes.items[:ITEMS])


def test_what_is_said_and_how_clearly_are_told_apart(data: Dataset, tmp_path: Path) -> None:
    # Another caption of each picture, which is right: 0 after the left-out one.
    right = [item.captions[(item.chosen("rotating") + 1) % 5].text for item in data.items]
    wrong = [*right[1:], right[0]]
    metric = "fact F1"
    good = _falls(data, tmp_path, right, CLEAR).lost[metric]
    assert good["clarity"] == (0, 0, 0)
    assert abs(good["content"][0]) < 5
    # Wrong pictures: as clear as before.
    astray = _falls(data, tmp_path, wrong, CLEAR).lost[metric]
    assert astray["clarity"] == (0, 0, 0)
    assert astray["content"][1] > 30
    # Noise: it says what it said.
    unclear = _falls(data, tmp_path, _half_heard(right), UNCLEAR).lost[metric]
    assert unclear["clarity"][1] > 10
    assert abs(unclear["content"][0]) < 10


def test_the_parts_add_up(data: Dataset, tmp_path: Path) -> None:
    texts = ["", *(item.captions[0].text for item in data.items[1:])]
    for clarity, failed, steps in (
        (UNCLEAR / 2, 0, ["ASR", "clarity", "content"]),
        (UNCLEAR / 2, 1, ["ASR", "failed", "clarity", "content"]),
        # An ASR that gives no log-probability.
        (float("nan"), 1, ["ASR", "failed", "model"]),
    ):
        fall = _falls(data, tmp_path, texts, clarity, failed)
        for metric, lost in fall.lost.items():
            assert list(lost) == steps
            parts = sum(points for points, _, _ in lost.values())
            assert fall.start[metric] - parts == pytest.approx(fall.end[metric], abs=1e-9)
