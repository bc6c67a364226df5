"""A run with stubs for models; the ledger, the scheduler and Ray are the real ones.

What the stubs generate and transcribe is a function of the item, so that a lost, doubled or mixed
row shows. tests.evidence.chaos kills such runs, tests.evidence.scheduler measures them.
"""

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.asr.shipped import DEFAULT
from bench.common.audio import SpeechError, Wave
from bench.datasets.base import Caption, Dataset, Item
from bench.execution.executor import Actors
from bench.execution.runstate import RunState
from bench.jobs.cells import Cell
from bench.jobs.spec import Job
from bench.metrics.base import Array, AudioMetric, Score
from bench.store.ledger import Ledger
from bench.store.rows import MeasuredRow, SpeechRow, ToTranscribe, Transcribed, TranscriptRow
from bench.systems.base import Asked, Made
from bench.systems.decoding import DecodingSpec
from bench.systems.pixvox import PixVoxSystem

PAUSE = "PIXVOX_STUB_PAUSE"
"""The environment variable for the seconds that a stub takes for a batch."""

_WORDS = ("a", "the", "two", "dogs", "man", "runs", "over", "sand", "grass", "ball", "red", "in")


def _digest(*parts: object) -> bytes:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).digest()


def words(*parts: object) -> str:
    """Returns eight words that are a function of the parts."""
    return " ".join(_WORDS[byte % len(_WORDS)] for byte in _digest(*parts)[:8])


class StubGenerator:
    """Generates units that are a function of item and prompt share."""

    def __init__(self, system: PixVoxSystem, threads: int) -> None:
        self.pause = float(os.environ.get(PAUSE, "0"))

    def work(self, asked: Asked) -> Made:
        """Returns one row for every item and variant."""
        time.sleep(self.pause)
        return [
            (
                v.key,
                SpeechRow(item=item.id, status="ok", units=_digest(item.id, v.prompt), codebooks=4),
            )
            for item, variants in asked
            for v in variants
        ]


class StubMetric(AudioMetric):
    """Values that are a function of the units, by `StubTranscriber`."""

    name = "stub"
    columns = ("byte", "items")
    scores = (Score("stub", "S"),)

    def measure(self, waves: Sequence[Wave]) -> Array:
        """Stubs have no sound, so nothing is loaded."""
        raise SpeechError("a stub has no sound")

    def score(self, sums: Array) -> Array:
        """Returns the mean."""
        return sums[..., :1] / np.maximum(sums[..., 1:], 1)


METRIC = f"{StubMetric.__module__}:{StubMetric.__name__}"
"""The name of that metric in a job."""


class StubTranscriber:
    """Transcribes words, and measures values, that are functions of the units."""

    def __init__(self, asr: object, threads: int, metrics: Sequence[str]) -> None:
        self.pause = float(os.environ.get(PAUSE, "0"))

    def work(self, work: tuple[object, str, Sequence[Any]]) -> list[Transcribed]:
        """Returns one row for every row given."""
        time.sleep(self.pause)
        return [_transcribed(entry) for entry in work[2]]


def _transcribed(entry: ToTranscribe) -> Transcribed:
    item, units = entry.row.item, entry.row.units
    values = (float(_digest(item, units.hex())[0]), 1.0)
    measured = tuple(MeasuredRow(item=item, status="ok", values=values) for _ in entry.metrics)
    transcript = words(item, units.hex())
    return Transcribed(
        TranscriptRow(item=item, status="ok", transcript=transcript), measured=measured
    )


ACTORS = Actors(StubGenerator, StubTranscriber, load_weights=False)


def stub_dataset(items: int, captions: int = 2) -> Dataset:
    """Returns items with captions and no files."""
    image = Path("none.png")
    names = [f"i{number:06d}" for number in range(items)]
    things = tuple(
        Item(name, image, tuple(Caption(words(name, number)) for number in range(captions)))
        for name in names
    )
    return Dataset("stub", "test", "none", things, digest="0")


def stub_run(
    folder: Path,
    dataset: Dataset,
    *,
    prompts: tuple[float, ...] = (0.0, 0.5),
    slots: int = 4,
    cluster: dict[str, object],
    metrics: Sequence[str] = (),
) -> RunState:
    """Returns a run in `folder` with a cell for each prompt share, and audio metrics."""
    decoding = DecodingSpec(slots=slots)
    system = PixVoxSystem(
        kind="pixvox", label="stub", weights="none", prompts=prompts, decoding=decoding
    )
    job = Job.model_validate(
        {
            "name": "stub",
            "dataset": {"name": "scenes"},
            "systems": [system.model_dump()],
            "cluster": {"deadline_seconds": 30} | cluster,
            "scoring": {"metrics": list(metrics), "replicates": 100},
        }
    )
    cells = [
        Cell(
            label="stub",
            system=system,
            pattern="delay",
            prompt=prompt,
            asr=DEFAULT,
            part="whole",
            speech_key=f"s{prompt}",
            transcript_key=f"h{prompt}",
        )
        for prompt in prompts
    ]
    return RunState(
        job, dataset, None, cells, ledger=Ledger(folder / "ledger"), speech=folder / "speech"
    )
