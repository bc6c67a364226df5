"""No key of a job file is without effect: each is changed alone, and what depends on it changes.

`EFFECTS` has a line for every key of every mapping that a job may hold: the mapping that has the
key, the key's other value, and the view of the job that has to differ. A new key without a line
fails the test. No model is loaded.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import yaml
from pages import finished_run

from bench.asr.base import names_of
from bench.cli import main
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
from bench.metrics.base import Array, Hypotheses, Metric, References, Score
from bench.tables.pooling import role
from pixvox.weights import zoo_folder

pytestmark = pytest.mark.slow

PIXVOX = {"kind": "pixvox", "label": "delay", "weights": "zoo:pixvox-tiny-delay"}
DRAWING = PIXVOX | {"decoding": {"temperature": 0.5}}
RETRIEVAL = {
    "kind": "retrieval",
    "label": "retrieval",
    "data": {"name": "folder", "manifest": "data.jsonl"},
    "vision": "zoo:pixvox-tiny-delay",
}
CONSENSUS = RETRIEVAL | {"choose": "consensus-words"}
CODEC = {"codec": "codec", "bandwidth": 1.6}
UNITS = {"kind": "units", "label": "units", "file": "units.parquet", **CODEC}
PYTHON = {"kind": "python", "label": "own", "entry": "transcripts:transcribed"}
WAVS = {"kind": "wavs", "label": "files", "folder": "wavs"}
NOISY = {"kind": "noisy", "snr": [0.0, 10.0]}
RESYNTHESIS = {"kind": "resynthesis", **CODEC}
PROMPT = {"kind": "prompt", **CODEC}
CASCADE = {"kind": "cascade", "label": "cascade", "weights": "zoo:blip-captioner-tiny"}
OWN_ASR = {"backend": "transcripts:transcribed"}
CTC = {"backend": "transformers-ctc", "model": "model"}
FASTER = {"backend": "faster-whisper", "model": "model"}
WHISPER = {"backend": "openai-whisper", "model": "whisper.pt"}
FLICKR = {"name": "flickr8k", "root": "flickr8k", "audio": "flickr_audio"}
FOLDER = {"name": "folder", "manifest": "data.jsonl"}
KARPATHY = {"name": "karpathy", "file": "karpathy.json", "images": "images"}
COCO = {"name": "spokencoco", "file": "coco.json", "images": "images", "audio": "wavs"}
SCENES = {"name": "scenes", "folder": "scenes"}


class WordCount(Metric):
    """A metric of a user's own: words per item."""

    name = "words"
    columns = ("words", "items")
    scores = (Score("word count", "WC"),)

    def statistics(self, hypotheses: Hypotheses, references: References) -> Array:
        rows = [(len(text.split()), 1) for text in hypotheses.values()]
        return np.array(rows, dtype=np.float64).reshape(-1, 2)

    def score(self, sums: Array) -> Array:
        return sums[..., :1] / np.maximum(sums[..., 1:], 1)


@dataclass(frozen=True)
class Effect:
    """A mapping that has a key, the key's other value, and the name of the view that differs."""

    mapping: Mapping[str, Any]
    value: Any
    view: str


def _each(model: str, mapping: Mapping[str, Any], /, **keys: tuple[Any, str]) -> dict[str, Effect]:
    return {f"{model}.{key}": Effect(mapping, *change) for key, change in keys.items()}


LABELLED = ("another name", "names")
TRAINED = ("on something", "names")
EFFECTS: dict[str, Effect] = {
    **_each(
        "Job",
        {},
        dataset=(KARPATHY, "data"),
        limit=(1, "plan"),
        caption=(1, "speech"),
        systems=([{"kind": "silence"}], "speech"),
        grid=({"exclude": [{"system": "recorded speech"}]}, "speech"),
        asr=(OWN_ASR, "transcripts"),
        parts=(["whole", "continuation"], "transcripts"),
        scoring=({"confidence": 0.9}, "scored"),
        cluster=({"transcribers": 3}, "actors"),
        tables=(["table2"], "scored"),
    ),
    **_each(
        "ScoringSpec",
        {},
        references=("all", "scored"),
        normaliser=("whisper", "scored"),
        metrics=(["test_key_effects:WordCount"], "scored"),
        replicates=(150, "scored"),
        confidence=(0.9, "scored"),
        seed=(1, "scored"),
    ),
    **_each(
        "ClusterSpec",
        {},
        generators=(3, "actors"),
        transcribers=(3, "actors"),
    ),
    **_each("ScenesSpec", SCENES, folder=("more-scenes", "data"), items=("items.txt", "data")),
    **_each("ScenesSpec", SCENES, train_images=(3, "refused"), validation_images=(3, "refused")),
    **_each("ScenesSpec", SCENES, seed=(3, "refused")),
    **_each(
        "Flickr8kSpec",
        FLICKR,
        root=("more-flickr8k", "data"),
        audio=(None, "data"),
        split=("train", "data"),
        items=("items.txt", "data"),
        folder=("computed", "refused"),
    ),
    **_each(
        "FolderSpec",
        FOLDER,
        manifest=("more.jsonl", "data"),
        items=("items.txt", "data"),
        validation=("more.jsonl", "refused"),
        folder=("computed", "refused"),
    ),
    **_each(
        "SpokenCocoSpec",
        COCO,
        file=("more-coco.json", "data"),
        images=("more-images", "data"),
        audio=("more-wavs", "data"),
        items=("items.txt", "data"),
        validation=("more-coco.json", "refused"),
        folder=("computed", "refused"),
    ),
    **_each(
        "KarpathySpec",
        KARPATHY,
        file=("more-karpathy.json", "data"),
        images=("more-images", "data"),
        audio=("flickr_audio", "data"),
        split=("val", "data"),
        items=("items.txt", "data"),
        folder=("computed", "refused"),
    ),
    **_each("TextSystem", {"kind": "text"}, label=LABELLED),
    **_each("CopiedSystem", {"kind": "copied"}, label=LABELLED, share=(0.3, "speech")),
    **_each("RecordedSystem", {"kind": "recorded"}, label=LABELLED),
    **_each("SilenceSystem", {"kind": "silence"}, label=LABELLED, seconds=(2.0, "speech")),
    **_each(
        "NoiseSystem",
        {"kind": "noise"},
        label=LABELLED,
        seconds=(2.0, "speech"),
        level=(-20.0, "speech"),
        seed=(1, "speech"),
    ),
    **_each("NoisySystem", NOISY, label=LABELLED, snr=([5.0], "speech"), seed=(1, "speech")),
    **_each(
        "ResynthesisSystem",
        RESYNTHESIS,
        label=LABELLED,
        codec=("zoo:encodec-tiny", "speech"),
        bandwidth=(0.8, "speech"),
    ),
    **_each(
        "PromptSystem",
        PROMPT,
        label=LABELLED,
        codec=("zoo:encodec-tiny", "speech"),
        bandwidth=(0.8, "speech"),
        prompts=([0.4], "speech"),
    ),
    **_each(
        "ShuffledSystem",
        {"kind": "shuffled"},
        label=LABELLED,
        of=("recorded speech", "speech"),
        seed=(1, "speech"),
    ),
    **_each(
        "WavsSystem",
        WAVS,
        label=LABELLED,
        folder=("more-wavs", "speech"),
        file=("{id}.flac", "speech"),
        mapping=("mapping.csv", "speech"),
        training=TRAINED,
    ),
    **_each(
        "UnitsSystem",
        UNITS,
        label=LABELLED,
        file=("more-units.parquet", "speech"),
        codec=("zoo:encodec-tiny", "speech"),
        bandwidth=(0.8, "speech"),
        training=TRAINED,
    ),
    **_each(
        "PythonSystem",
        PYTHON,
        label=LABELLED,
        entry=("pages:finished_run", "speech"),
        options=({"size": 3}, "speech"),
        version=("2", "speech"),
        training=TRAINED,
    ),
    **_each(
        "PixVoxSystem",
        PIXVOX,
        label=LABELLED,
        weights=("zoo:pixvox-tiny-parallel", "speech"),
        codec=("same-codec", "weights"),
        pattern=("parallel", "refused"),
        prompts=([0.5], "speech"),
        decoding=({"temperature": 0.7}, "speech"),
    ),
    **_each(
        "DecodingSpec",
        {"temperature": 0.5},
        temperature=(0.7, "speech"),
        top_k=(3, "speech"),
        top_p=(0.5, "speech"),
        guidance=(2.0, "speech"),
        longest_run=(3, "speech"),
        candidates=(2, "speech"),
        seed=(1, "speech"),
        max_seconds=(3.0, "speech"),
        slots=(8, "speech"),
        lanes=(2, "speech"),
        arithmetic=("bfloat16", "speech"),
    ),
    **_each(
        "CascadeSystem",
        CASCADE,
        label=LABELLED,
        weights=("model", "speech"),
        beams=(2, "speech"),
        training=TRAINED,
        voice=("model", "speech"),
    ),
    **_each("CascadeSystem", CASCADE | CODEC, codec=("zoo:encodec-tiny", "speech")),
    **_each("CascadeSystem", CASCADE | CODEC, bandwidth=(0.8, "speech")),
    **_each("OracleSystem", {"kind": "oracle"}, label=LABELLED, seed=(1, "speech")),
    **_each("OracleSystem", {"kind": "oracle"}, voice=("model", "speech")),
    **_each("OracleSystem", {"kind": "oracle"} | CODEC, codec=("zoo:encodec-tiny", "speech")),
    **_each("OracleSystem", {"kind": "oracle"} | CODEC, bandwidth=(0.8, "speech")),
    **_each(
        "RetrievalSystem",
        RETRIEVAL,
        label=LABELLED,
        data=({"name": "folder", "manifest": "more.jsonl"}, "speech"),
        vision=("zoo:pixvox-tiny-parallel", "speech"),
        choose=("consensus-words", "speech"),
        seed=(1, "speech"),
    ),
    **_each("RetrievalSystem", CONSENSUS, neighbours=(3, "speech")),
    **_each("RetrievalSystem", RETRIEVAL | CODEC, codec=("zoo:encodec-tiny", "speech")),
    **_each("RetrievalSystem", RETRIEVAL | CODEC, bandwidth=(0.8, "speech")),
    **_each(
        "WhisperAsr",
        WHISPER,
        model=("more-whisper.pt", "transcripts"),
        batch=(4, "transcripts"),
        beam_size=(2, "transcripts"),
        arithmetic=("float16", "transcripts"),
        window=("adaptive", "transcripts"),
    ),
    **_each(
        "FasterAsr",
        FASTER,
        model=("more-model", "transcripts"),
        batch=(4, "transcripts"),
        beam_size=(2, "transcripts"),
        arithmetic=("float16", "transcripts"),
    ),
    **_each(
        "CtcAsr",
        CTC,
        model=("more-model", "transcripts"),
        batch=(4, "transcripts"),
        beam_size=(2, "refused"),
        arithmetic=("float16", "transcripts"),
    ),
    **_each(
        "OwnAsr",
        OWN_ASR,
        backend=("pages:finished_run", "transcripts"),
        batch=(4, "transcripts"),
        options=({"size": 3}, "transcripts"),
        version=("2", "transcripts"),
    ),
    **_each(
        "Grid",
        {},
        prompt=([0.3], "speech"),
        seed=([0, 1], "speech"),
        temperature=([0.7], "speech"),
        top_k=([3], "speech"),
        top_p=([0.5], "speech"),
        guidance=([2.0], "speech"),
        longest_run=([3], "speech"),
        candidates=([2], "speech"),
        bandwidth=([0.8], "speech"),
        snr=([5.0], "speech"),
        include=([{"system": "delay", "seed": 3}], "speech"),
        exclude=([{"system": "delay"}], "speech"),
    ),
    **_each(
        "Point",
        {"system": "delay", "seed": 9},
        system=("delay too", "speech"),
        prompt=(0.3, "speech"),
        seed=(3, "speech"),
        temperature=(0.7, "speech"),
        top_k=(3, "speech"),
        top_p=(0.5, "speech"),
        guidance=(2.0, "speech"),
        longest_run=(3, "speech"),
        candidates=(2, "speech"),
        asr=("openai-whisper whisper.pt", "refused"),
    ),
    **_each("Point", {"system": "resynthesis", "bandwidth": 0.8}, bandwidth=(0.4, "speech")),
    **_each("Point", {"system": "speech in noise", "snr": 5.0}, snr=(6.0, "speech")),
}

WITHOUT_LINE = {
    "Job.name": "names the run's folder: tests/bench/test_run.py",
    "ClusterSpec.address": "needs a running Ray cluster: tests/bench/test_cluster.py",
    "ClusterSpec.deadline_seconds": "needs an actor that hangs: tests/faults/test_chaos.py",
    **dict.fromkeys(
        (
            *("Job.tracking", "MlflowTracker.uri", "MlflowTracker.experiment"),
            *("WandbTracker.project", "WandbTracker.entity", "WandbTracker.mode"),
        ),
        "sends scores elsewhere and changes none: tests/bench/test_tracking.py",
    ),
}
"""Keys whose effect cannot be seen here, each with the reason."""
CHOOSERS = ("kind", "name", "backend")
"""Keys that choose which mapping it is; another mapping has lines of its own."""


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


RUN: dict[str, Any] = {
    "systems": [
        {"kind": "recorded"},
        {"kind": "resynthesis", "codec": "zoo:encodec-tiny", "bandwidth": 1.6},
        {"kind": "pixvox", "label": "parallel", "weights": "zoo:pixvox-tiny-parallel"},
        PIXVOX,
    ],
    "limit": 8,
}
RESAMPLED = {
    "scores": {"low", "high"},
    "tests": {"low", "high", "p_bootstrap", "p_permutation", "p_adjusted", "detectable"},
    "audit-tests": {"p_adjusted", "other_p_adjusted"},
    "waterfall": {"low", "high"},
}
"""Table → the columns that are drawn."""


def _tables(run: Path) -> dict[str, pl.DataFrame]:
    """The frames that a run has written, by name."""
    paths = [run / "scores.parquet", *sorted((run / "tables").glob("*.parquet"))]
    return {path.stem: pl.read_parquet(path) for path in paths}


def _differing(before: Mapping[str, pl.DataFrame], after: Mapping[str, pl.DataFrame]) -> Any:
    """Table → the columns that differ; other tables, or other rows, are one word."""
    changed: dict[str, Any] = {}
    for name in before.keys() | after.keys():
        first, second = before.get(name), after.get(name)
        if first is None or second is None or first.height != second.height:
            changed[name] = {"rows"}
        elif columns := {c for c in first.columns if not first[c].equals(second[c])}:
            changed[name] = columns
    return changed


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two systems and two ASRs, whose transcripts are made up."""
    return finished_run(tmp_path_factory.mktemp("scored"), "keys", **RUN)


def _scored_again(stored: Path, **changes: Any) -> dict[str, pl.DataFrame]:
    """The tables of the stored run under another scoring."""
    runs = stored.parent
    # Not that of run.json, which the call before has changed.
    job = yaml.safe_load((runs / f"{stored.name}.yaml").read_text())
    path = runs / "again.json"
    scoring = job["scoring"] | changes.pop("scoring", {})
    path.write_text(json.dumps(job | {"scoring": scoring} | changes))
    assert main(["rescore", str(path), "--runs", str(runs)]) == 0
    return _tables(stored)


def test_scoring_keys_change_what_is_scored(stored: Path) -> None:
    before = _tables(stored)
    assert _differing(before, _scored_again(stored)) == {}
    for key in ("seed", "replicates", "confidence"):
        effect = EFFECTS[f"ScoringSpec.{key}"]
        changed = _differing(before, _scored_again(stored, scoring={key: effect.value}))
        for table, columns in RESAMPLED.items():
            # A confidence decides how wide intervals are, and no p-value.
            drawn = columns & {"low", "high"} if key == "confidence" else columns
            assert changed.get(table, set()) & columns == drawn, (key, table)
    assert "table1" in _differing(before, _scored_again(stored, tables=["table2"]))
    for key in ("references", "normaliser", "metrics"):
        effect = EFFECTS[f"ScoringSpec.{key}"]
        changed = _differing(before, _scored_again(stored, scoring={key: effect.value}))
        assert changed["scores"] & {"score", "rows", "signature"}, key
