"""No key of a job file is without effect: each is changed alone, and what depends on it changes.

A new key without a line in `EFFECTS` fails the test. No model is loaded.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from key_effects import (
    CHOOSERS,
    DRAWING,
    EFFECTS,
    FOLDER,
    NOISY,
    OWN_ASR,
    PIXVOX,
    RESYNTHESIS,
    WHISPER,
    WITHOUT_LINE,
)

from bench.asr.base import names_of
from bench.commands.reference import sections
from bench.common.errors import UserError
from bench.common.yamlfile import validate
from bench.datasets.base import Dataset
from bench.datasets.loading import load_dataset
from bench.execution.division import divide
from bench.gate.golden import cell_id
from bench.jobs.cells import Cell
from bench.jobs.expansion import expand
from bench.jobs.naming import words_of
from bench.jobs.spec import Job
from bench.tables.pooling import role
from pixvox.weights import zoo_folder

pytestmark = pytest.mark.slow


def _chooses(model: type[Any], key: str) -> bool:
    return key in CHOOSERS and model is not Job and f"{model.__name__}.{key}" not in EFFECTS


def test_every_key_of_a_job_file_has_a_line() -> None:
    keys = {
        f"{section.model.__name__}.{key}"
        for section in sections(Job)
        for key in section.model.model_fields
        if not _chooses(section.model, key)
    }
    assert keys == EFFECTS.keys() | WITHOUT_LINE.keys()


def _job(model: str, mapping: Mapping[str, Any]) -> dict[str, Any]:
    """A job in which the mapping of a model stands where it belongs."""
    job: dict[str, Any] = {
        "name": "keys",
        "dataset": FOLDER,
        "systems": [{"kind": "recorded"}],
        "asr": WHISPER,
    }
    varied = [DRAWING, DRAWING | {"label": "delay too", "weights": "zoo:pixvox-tiny-parallel"}]
    varied += [RESYNTHESIS, NOISY]
    if model == "Job":
        return job | {"systems": [{"kind": "recorded"}, PIXVOX | {"prompts": [0.5]}]} | mapping
    if model in ("ScoringSpec", "ClusterSpec"):
        return job | {model.removesuffix("Spec").lower(): mapping}
    if model == "Grid":
        return job | {"systems": varied, "grid": mapping}
    if model == "Point":
        return job | {"systems": varied, "grid": {"include": [mapping]}}
    if model == "DecodingSpec":
        return job | {"systems": [PIXVOX | {"decoding": mapping}]}
    if model.endswith("Asr"):
        return job | {"asr": mapping}
    if model.endswith("Spec"):
        return job | {"dataset": mapping}
    first = {"kind": "silence"} if model == "RecordedSystem" else {"kind": "recorded"}
    return job | {"systems": [first, mapping]}


def _read(content: Mapping[str, Any]) -> Job:
    job: Job = validate(content, Job, "job.yaml")
    return job


def _cells(job: Job) -> list[Cell]:
    """The job's cells; what an ASR stands on is its digest and options."""
    return expand(job, _dataset(job), [(asr, asr.facts()) for asr in job.asrs])


def _dataset(job: Job) -> Dataset:
    return load_dataset(job.dataset)


def _names(job: Job) -> list[Any]:
    """What tables and goldens call the cells."""
    asrs = names_of(job.asrs)
    return [
        (cell.label, words_of(cell), cell_id(cell), role(cell, "none"), cell.asr and asrs[cell.asr])
        for cell in _cells(job)
    ]


VIEWS: Mapping[str, Callable[[Job], Any]] = {
    "speech": lambda job: [cell.speech_key for cell in _cells(job)],
    "transcripts": lambda job: [cell.transcript_key for cell in _cells(job)],
    "names": _names,
    "weights": lambda job: [list(system.weights_names()) for system in job.systems],
    "data": _dataset,
    "plan": lambda job: _dataset(job).items[: job.limit],
    "actors": lambda job: divide(job.cluster, 0, 2, generates_on_gpu=False),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small files of every kind that a job may name, each kind twice with a change."""
    root = tmp_path_factory.mktemp("keys")
    for number, prefix in enumerate(("", "more-")):
        for folder in ("images", "wavs", "model"):
            (root / f"{prefix}{folder}").mkdir()
        for name in "ab":
            (root / f"{prefix}images" / f"{name}.jpg").write_bytes(f"{name}{number}".encode())
            for suffix in ("wav", "flac"):
                sound = root / f"{prefix}wavs" / f"{name}.{suffix}"
                sound.write_bytes(f"{name}{number}{suffix}".encode())
        (root / f"{prefix}model" / "config.json").write_text(json.dumps({"size": number}))
        torch.save({"size": torch.tensor(number)}, root / f"{prefix}whisper.pt")
        units = [[[number] * 3] * 4] * 2
        pl.DataFrame({"item": ["a", "b"], "units": units}).write_parquet(
            root / f"{prefix}units.parquet"
        )
        captions = ["a dog runs", f"a dog and {number} more"]
        images = [
            {
                "filename": f"{name}.jpg",
                "split": split,
                "sentences": [{"raw": text} for text in captions],
            }
            for name, split in (("a", "test"), ("b", "val"), ("c", "test"))
        ]
        karpathy = {"dataset": "flickr8k", "images": images}
        (root / f"{prefix}karpathy.json").write_text(json.dumps(karpathy))
        spoken = [{"text": text, "wav": "a.wav"} for text in captions]
        entries = [{"image": f"{name}.jpg", "captions": spoken} for name in "ab"]
        (root / f"{prefix}coco.json").write_text(json.dumps({"data": entries}))
        rows = [
            {
                "id": name,
                "image": f"images/{name}.jpg",
                "captions": [
                    {"text": text, "speech": f"wavs/{name}.{suffix}"}
                    for text, suffix in zip(captions, ("wav", "flac"), strict=True)
                ][: 2 - number],
            }
            for name in "ab"
        ]
        lines = "\n".join(json.dumps(row) for row in rows)
        (root / f"{prefix.removesuffix('-') or 'data'}.jsonl").write_text(lines)
        scenes = [
            {"id": name, "image": f"{name}.jpg", "captions": [{"text": text} for text in captions]}
            for name in "ab"
        ]
        (root / f"{prefix}scenes").mkdir()
        manifest = root / f"{prefix}scenes" / "manifest.jsonl"
        manifest.write_text("\n".join(json.dumps(row) for row in scenes))
        flickr8k = root / f"{prefix}flickr8k"
        (flickr8k / "Images").mkdir(parents=True)
        tokens = [f"{name}.jpg#{n}\t{text}" for name in "ab" for n, text in enumerate(captions)]
        (flickr8k / "Flickr8k.token.txt").write_text("\n".join(tokens))
        (flickr8k / "Flickr_8k.testImages.txt").write_text("a.jpg\n")
        (flickr8k / "Flickr_8k.trainImages.txt").write_text("b.jpg\n")
    (root / "flickr8k" / "Flickr_8k.testImages.txt").write_text("a.jpg\nb.jpg\n")
    (root / "items.txt").write_text("a.jpg\n")
    (root / "mapping.csv").write_text("item,file\na,b.wav\nb,a.wav\n")
    (root / "flickr_audio" / "wavs").mkdir(parents=True)
    (root / "flickr_audio" / "wav2capt.txt").write_text("a_0.wav a.jpg #0\n")
    shutil.copytree(zoo_folder() / "encodec-tiny", root / "same-codec")
    shutil.copytree(zoo_folder() / "encodec-tiny", root / "codec")
    config = json.loads((root / "codec" / "config.json").read_text())
    config["target_bandwidths"] = [0.4, 0.8, 1.6]
    (root / "codec" / "config.json").write_text(json.dumps(config))
    return root


@pytest.mark.parametrize("key", [key for key in EFFECTS if EFFECTS[key].view != "scored"])
def test_a_key_changes_what_depends_on_it(
    key: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    effect = EFFECTS[key]
    model, name = key.split(".")
    before = _job(model, effect.mapping)
    after = _job(model, {**effect.mapping, name: effect.value})
    if effect.view == "refused":
        _cells(_read(before))
        with pytest.raises(UserError):
            _cells(_read(after))
        return
    view = VIEWS[effect.view]
    assert view(_read(before)) == view(_read(before))
    assert view(_read(before)) != view(_read(after))


def test_an_asr_is_excluded_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    job = _job("Job", {"asr": [WHISPER, OWN_ASR]})
    excluded = job | {"grid": {"exclude": [{"asr": "openai-whisper whisper.pt"}]}}
    before, after = (
        {cell.asr.label for cell in _cells(_read(content)) if cell.asr}
        for content in (job, excluded)
    )
    assert before - after == {"openai-whisper whisper.pt"}
