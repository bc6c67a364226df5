"""The floor that never looks: each image gets another's speech, or another's transcript."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bench.asr.base import Asr
from bench.asr.whisper import WhisperAsr
from bench.common.errors import UserError
from bench.datasets.base import Caption, Dataset
from bench.execution.executor import execute
from bench.execution.runstate import RunState
from bench.jobs.cells import Cell
from bench.jobs.expansion import expand
from bench.jobs.spec import Job
from bench.store.ledger import Ledger
from bench.store.rows import SpeechRow, TranscriptRow
from tests.evidence.stub import stub_dataset

TINY = WhisperAsr()
BEAM = WhisperAsr(beam_size=5)


def _job(tmp_path: Path, *floors: dict[str, Any], systems: tuple[str, ...] = ("SAT", "SAS")) -> Job:
    (tmp_path / "wavs").mkdir(exist_ok=True)
    cells = [
        {"kind": "wavs", "label": name, "folder": str(tmp_path / "wavs"), "file": f"{name}{{id}}"}
        for name in systems
    ]
    # The floor first, as a job may have it.
    content = {"name": "j", "dataset": {"name": "scenes"}, "systems": [*floors, *cells]}
    return Job.model_validate(content)


def _cells(job: Job, dataset: Dataset, *asrs: Asr) -> list[Cell]:
    return expand(job, dataset, [(asr, {"asr": asr.label}) for asr in asrs or (TINY,)])


def _run(job: Job, dataset: Dataset, tmp_path: Path, limit: int | None = None) -> RunState:
    cells = _cells(job, dataset)
    return RunState(
        job, dataset, limit, cells, ledger=Ledger(tmp_path / "ledger"), speech=tmp_path / "speech"
    )


def _transcribe(run: RunState, label: str) -> None:
    """Commits every item's own name as its transcript; the first one fails."""
    cell = next(cell for cell in run.cells if cell.label == label)
    names = [item.id for item in run.items]
    run.commit_speech(cell.speech_key, [SpeechRow(item=name, status="ok") for name in names])
    failed = TranscriptRow(item=names[0], status="failed", reason="it is silent")
    rows = [failed, *(TranscriptRow(item=name, status="ok", transcript=name) for name in names[1:])]
    run.commit_transcripts(cell, rows)


def test_without_recordings_a_system_s_transcripts_are_shuffled(tmp_path: Path) -> None:
    dataset = stub_dataset(9)
    job = _job(tmp_path, {"kind": "shuffled"}, systems=("SAT",))
    run = _run(job, dataset, tmp_path)
    floor, system = run.cells
    assert floor.source is system
    assert run.missing == 2 * 9
    _transcribe(run, "SAT")
    # Nothing is left to do, so neither Ray nor a model is started.
    assert run.missing == 0
    execute(run, lambda *_: None)
    own, other = run.transcripts(system), run.transcripts(floor)
    assert own.schema == other.schema
    assert own["item"].to_list() == other["item"].to_list()
    assert not any(other["item"] == other["transcript"])
    assert sorted(own["transcript"]) == sorted(other["transcript"])
    # What failed has failed for the image that would have got it.
    assert other.filter(status="failed")["reason"].to_list() == ["it is silent"]
    assert other.filter(status="failed")["item"][0] != own.filter(status="failed")["item"][0]
    # Nothing of it is kept, and another start finds the same.
    assert not list((tmp_path / "ledger").rglob(f"*{floor.transcript_key}*"))
    again = _run(job, dataset, tmp_path)
    assert again.missing == 0
    assert again.transcripts(again.cells[0]).equals(other)


def test_a_limit_shuffles_among_what_there_is(tmp_path: Path) -> None:
    dataset = stub_dataset(9)
    job = _job(tmp_path, {"kind": "shuffled"}, systems=("SAT",))
    run = _run(job, dataset, tmp_path, limit=4)
    _transcribe(run, "SAT")
    rows = run.transcripts(run.cells[0]).filter(status="ok")
    assert set(rows["transcript"]) <= {item.id for item in dataset.items[:4]}
    lone = _run(job, dataset, tmp_path, limit=1)
    (reason,) = lone.transcripts(lone.cells[0]).filter(pl.col("status") == "failed")["reason"]
    assert reason == "there is no other item whose transcript it could take"


def test_the_source_and_the_seed_make_the_key(tmp_path: Path) -> None:
    dataset = stub_dataset(3)

    def key(floor: dict[str, Any], data: Dataset = dataset, **more: Any) -> Cell:
        return _cells(_job(tmp_path, {"kind": "shuffled"} | floor, **more), data)[0]

    first = key({})
    assert first.source is not None
    assert first.source.label == "SAT"
    assert key({"label": "another name"}).transcript_key == first.transcript_key
    named = key({"of": "SAS"})
    assert named.source is not None
    assert named.source.label == "SAS"
    seeded = key({"seed": 1})
    other = key({}, replace(dataset, digest="1"))
    assert len({c.transcript_key for c in (first, named, seeded, other)}) == 4
    assert len({c.speech_key for c in (first, named, seeded, other)}) == 4


def test_each_asr_has_its_own(tmp_path: Path) -> None:
    floors = _cells(_job(tmp_path, {"kind": "shuffled"}), stub_dataset(3), TINY, BEAM)[:2]
    assert [cell.source.asr if cell.source else None for cell in floors] == [TINY, BEAM]


def test_with_recordings_it_is_their_speech_unless_a_system_is_named(tmp_path: Path) -> None:
    plain = stub_dataset(3)
    items = tuple(
        replace(item, captions=(Caption("a dog", tmp_path / "a.wav"),)) for item in plain.items
    )
    dataset = replace(plain, items=items)
    assert _cells(_job(tmp_path, {"kind": "shuffled"}), dataset)[0].source is None
    assert _cells(_job(tmp_path, {"kind": "shuffled", "of": "SAT"}), dataset)[0].source is not None


@pytest.mark.parametrize(
    ("floor", "said"),
    [
        ({}, "shuffled speech: there is no recorded speech, and no system without a prompt"),
        ({"of": "nobody"}, "shuffled speech: there is no system 'nobody' without a prompt"),
        ({"of": "shuffled speech"}, "shuffled speech: there is no system 'shuffled speech'"),
    ],
)
def test_nothing_to_shuffle_is_one_line(tmp_path: Path, floor: dict[str, Any], said: str) -> None:
    floors = ({"kind": "shuffled"} | floor, {"kind": "silence"})
    with pytest.raises(UserError, match=said) as error:
        _cells(_job(tmp_path, *floors, systems=()), stub_dataset(3))
    assert "\n" not in str(error.value)
