"""`pixvox train` on real Ray Train: workers only divide the work, and a kill costs nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import (
    AutoProcessor,
    BlipVisionModel,
    EfficientNetConfig,
    EfficientNetModel,
)

import pixvox
from bench.cli import main
from bench.common.processes import below, state
from bench.common.yamlfile import parse
from bench.datasets.base import Dataset
from bench.datasets.storedunits import name_of, stored_units, write_packed
from bench.systems.base import Lookup, Variant
from bench.systems.cascade import CascadeSystem
from bench.training.judge import SpeechJudge
from bench.training.log import read_log
from bench.training.pixvox import run_pixvox, work
from bench.training.spec import PixVoxJob, TrainingJob, seeded
from bench.training.start import new_model
from pixvox.codec.encodec import Codec
from pixvox.configuration import PixVoxConfig
from pixvox.images import load_image
from pixvox.modeling import PixVoxLM
from pixvox.training.checkpoint import save_state
from pixvox.training.recipe import identity
from pixvox.vision import ImageScaling
from pixvox.weights import resolve

pytestmark = pytest.mark.slow

PLAN: dict[str, object] = {
    "steps": 10,
    "batch": 6,
    "micro_batch": 2,
    "learning_rate": 1e-3,
    "warmup": 2,
}
DELAY = "zoo:pixvox-tiny-delay"
PLAN |= {"validate_every": 5, "checkpoint_every": 2, "precision": "float32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    torch.manual_seed(0)
    BlipVisionModel(PixVoxConfig.tiny().vision_config).save_pretrained(folder / "vision")
    return folder


def _job(folder: Path, name: str, **changes: object) -> Path:
    job = {
        "kind": "pixvox",
        "output": str(folder / name),
        "data": {"folder": str(folder / "scenes"), "train_images": 5, "validation_images": 2},
        "pattern": "delay",
        "codec": "zoo:encodec-tiny",
        "bandwidth": 1.6,
        "vision": str(folder / "vision"),
        "dropout": 0,
        "workers": 2,
        "plan": PLAN,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(job | changes))
    return path


def _losses(folder: Path, name: str) -> list[float]:
    rows = read_log(folder / f"{name}.training" / "log.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 11))
    return [row["loss"] for row in rows]


@pytest.fixture
def two_nodes(tmp_path: Path, as_node: Any) -> Iterator[str]:
    """The address of a cluster of two nodes of one core, in folders and homes of their own."""
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    for name in ("first", "second"):
        with as_node(name):
            cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster.address
    cluster.shutdown()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


HEARD = """
class Words:
    def __init__(self, device, threads): pass
    def transcribe(self, waves): return ["a red circle" for _ in waves]
"""
JUDGE = {
    "images": 1,
    "decoding": {"max_seconds": 0.2},
    "asr": {"backend": "heard_by_judge:Words", "batch": 1},
}


@pytest.mark.timeout(600)
def test_two_workers_killed_and_resumed_on_nodes_without_its_files_take_the_same_steps_as_one(
    folder: Path, two_nodes: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a judge whose ASR is a class of the driver's folder, which no node has either."""
    monkeypatch.chdir(folder)
    (folder / "heard_by_judge.py").write_text(HEARD)
    alone: PixVoxJob = parse(_job(folder, "alone", judge=JUDGE), TrainingJob)
    work(alone, torch.device("cpu"), 0)

    killed = _job(folder, "killed", judge=JUDGE)
    command = [sys.executable, "-m", "bench.cli", "train", str(killed)]
    log = folder / "killed.training" / "log.jsonl"
    driver = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    while not log.exists() or len(read_log(log)) < 5:
        assert driver.poll() is None, "the training ended before it could be killed"
        time.sleep(0.02)
    family = below(driver.pid)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    while any(map(state, family)):
        time.sleep(0.02)
    before = len(read_log(log))
    assert before < 10
    # What this descriptor leads to is there for this process alone.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    resumed = _job(Path(f"/proc/self/fd/{descriptor}"), "killed", judge=JUDGE)
    assert main(["train", str(resumed), "--address", two_nodes]) == 0
    os.close(descriptor)
    np.testing.assert_allclose(_losses(folder, "killed"), _losses(folder, "alone"), rtol=1e-4)
    judged = [row["judged"] for row in read_log(folder / "killed.training" / "log.jsonl")]
    assert judged[-1] == read_log(folder / "alone.training" / "log.jsonl")[-1]["judged"]
    assert judged[-1]["speech"] > 0
    assert (folder / "killed" / "model.safetensors").exists()
    assert "A PixVoxLM" in (folder / "killed" / "README.md").read_text()
    # A model is the same wherever it was made: none of its files names a folder of this machine.
    assert str(folder) not in (folder / "killed" / "config.json").read_text()
    assert "<svg" in (folder / "killed.training" / "loss.svg").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": 40}, "raise positions, or set too_long: skip"),
        ({"bandwidth": 6.0}, "zoo:encodec-tiny has no bandwidth 6.0 kbps"),
        ({"blip": "here"}, "blip brings an encoder and a decoder; leave out vision and start_from"),
        ({"pattern": {"delays": [0, 1]}}, "delays for 2 codebooks, and there are 4; give one"),
        ({"vision": None}, "name what it starts from: blip, vision or start_from"),
        (
            {"vision": None, "start_from": DELAY, "positions": 99},
            "has positions 512, not 99; set positions: 512",
        ),
        ({"vision": None, "blip": "nowhere"}, "nowhere: no config.json there"),
        ({"vision": "nowhere"}, "nowhere: no config.json there"),
        ({"vision": "zoo:encodec-tiny"}, "config.json: vision_config: 'encodec' is no image enc"),
        (
            {"vision": None, "blip": "here", "size": {"layers": 1, "hidden": 8, "heads": 1}},
            "size is for a new decoder, and blip and start_from have their own; leave it out",
        ),
        (
            {"size": {"layers": 1, "hidden": 100, "heads": 3}},
            "hidden 100 is not a multiple of heads 3",
        ),
        ({"judge": {"decoding": {"guidance": 2}}}, "judge: decoding.guidance needs a null image"),
        ({"judge": {"decoding": {"top_k": [1, 2]}}}, "decoding.top_k has 2 values, and the model"),
        ({"plan": PLAN | {"precision": "int3"}}, "use auto, bfloat16 or float32"),
    ],
)
def test_a_job_that_cannot_work_is_one_line(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    message: str,
) -> None:
    assert main(["train", str(_job(folder, "wrong", **changes))]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("pixvox: ")
    assert message in error


def test_a_changed_recipe_is_one_line_before_ray_is_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = SimpleNamespace(config=PixVoxConfig.tiny(), vision=torch.nn.Linear(1, 1))
    prepared = model, SimpleNamespace(units=[]), None
    monkeypatch.setattr("bench.training.pixvox.prepare", lambda *_: prepared)
    monkeypatch.setattr("bench.training.pixvox.ray_session", None)
    job = _job(tmp_path, "begun")
    plan = parse(job, TrainingJob).plan
    course = identity(model.config.computed(), "", [], plan)
    state = tmp_path / "begun.training" / "state.pt"
    save_state(state, {"step": 1, "identity": course})
    for change in ({"learning_rate": 5e-4}, {"steps": 20}):
        changed = _job(tmp_path, "begun", plan=PLAN | change)
        assert main(["train", str(changed)]) == 2
        assert capsys.readouterr().err == (
            f"pixvox: {state}: the checkpoint of another model, recipe or data; remove "
            f"{state.parent}, or choose another output\n"
        )
    # The recipe that it was begun with goes on, to Ray.
    with pytest.raises(TypeError, match="NoneType"):
        run_pixvox(parse(_job(tmp_path, "begun"), TrainingJob), lambda *_: None, lambda: False)


def test_a_model_is_trained_further_from_what_it_is_but_for_its_head(folder: Path) -> None:
    job: PixVoxJob = parse(_job(folder, "on", vision=None, start_from=DELAY), TrainingJob)
    start = new_model(job, Codec.load("zoo:encodec-tiny", 1.6))
    before = load_file(resolve(DELAY) / "model.safetensors")
    unchanged = {name for name in before if not name.startswith("similarity_head.")}
    assert unchanged == start.state_dict().keys()
    assert all(torch.equal(start.state_dict()[name], before[name].float()) for name in unchanged)
    assert (start.config.similarity_size, start.config.null_image) == (0, True)


@pytest.fixture(scope="module")
def grid(folder: Path) -> Path:
    """A small EfficientNet with random weights that expects pictures of its own scaling."""
    sizes = {"in_channels": [32, 16], "out_channels": [16, 24], "strides": [2, 2]}
    sizes |= {"kernel_sizes": [3, 5], "num_block_repeats": [1, 1], "expand_ratios": [1, 2]}
    sizes |= {"width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280}
    EfficientNetModel(EfficientNetConfig(image_size=32, **sizes)).save_pretrained(folder / "grid")
    stated = {"size": 32, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.6, 0.7]}
    (folder / "grid" / "preprocessor_config.json").write_text(json.dumps(stated))
    return folder / "grid"


def test_another_image_encoder_and_a_decoder_of_another_size_are_lines_of_a_job(
    folder: Path, grid: Path
) -> None:
    keys = {"vision": str(grid), "size": {"layers": 2, "hidden": 48, "heads": 3}}
    job: PixVoxJob = parse(_job(folder, "grid-model", **keys), TrainingJob)
    work(job, torch.device("cpu"), 0)
    model = pixvox.load(folder / "grid-model").model
    config = model.config
    assert config.scaling == ImageScaling(32, (0.5, 0.4, 0.3), (0.5, 0.6, 0.7))
    assert (config.image_positions, config.image_state_size) == (17, 1280)
    assert (config.num_hidden_layers, config.hidden_size) == (2, 48)
    assert (config.num_attention_heads, config.intermediate_size) == (3, 192)
    assert _losses(folder, "grid-model")[-1] < _losses(folder, "grid-model")[0]
    # What was cached for training is what the exported model sees, but for its float16 weights.
    files = (folder / "scenes").rglob("train/states-*.npy")
    [cached] = [held for file in files if (held := np.load(file)).shape[1:] == (17, 1280)]
    pictures = sorted({item.image for item in job.data.half("train", lambda *_: None)})
    image = load_image(pictures[0], config.scaling)[None]
    states = model.encode_images(image)[0].detach().numpy()
    np.testing.assert_allclose(cached[0], states, atol=0.02)


def test_a_captioner_over_another_image_encoder_writes_in_a_cascade(
    folder: Path, grid: Path, scenes: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {"kind": "captioner", "output": str(folder / "captioner"), "vision": str(grid)}
    keys |= {"size": {"layers": 1, "hidden": 48, "heads": 3}, "min_word_count": 2, "threads": 1}
    keys |= {"data": {"folder": str(folder / "scenes"), "train_images": 5, "validation_images": 2}}
    path = folder / "captioner.yaml"
    path.write_text(yaml.safe_dump(keys | {"plan": {"steps": 3, "batch": 4}}))
    assert main(["train", str(path)]) == 0, capsys.readouterr().err
    cascade = {"kind": "cascade", "label": "cascade", "weights": str(folder / "captioner")}
    greedy, beams = (CascadeSystem.model_validate(cascade | {"beams": n}) for n in (1, 3))
    variant = Variant("a", 0, beams)
    known = set(AutoProcessor.from_pretrained(folder / "captioner").tokenizer.get_vocab())
    for system in (greedy, beams):
        assert set(system.writer("cpu").write(scenes.items[0], variant).split()) <= known
    # Speech of before there were beams is found again.
    lookup = Lookup(scenes)
    assert "beams" not in greedy.content(lookup).depends
    assert beams.content(lookup).depends["beams"] == 3


def test_a_decoder_moves_to_another_image_encoder_but_for_what_reads_its_states(
    folder: Path, grid: Path
) -> None:
    keys = {"vision": str(grid), "start_from": DELAY}
    job: PixVoxJob = parse(_job(folder, "moved", **keys), TrainingJob)
    model = new_model(job, Codec.load("zoo:encodec-tiny", 1.6))
    before = load_file(resolve(DELAY) / "model.safetensors")
    new = {
        name
        for name, value in model.state_dict().items()
        if name not in before or not torch.equal(value, before[name].float())
    }
    decoder = {name for name in new if not name.startswith("vision.")}
    read = {f"layers.{n}.crossattention.{p}" for n in range(4) for p in ("key", "value")}
    # Biases are taken: their shape does not depend on the image encoder.
    assert decoder == {f"{name}.weight" for name in read}


def test_a_model_learns_to_compare_and_speaks_as_before(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {"kind": "similarity", "output": str(folder / "compares"), "size": 8, "threads": 1}
    data = {"folder": str(folder / "scenes"), "train_images": 5, "validation_images": 2}
    keys |= {"start_from": DELAY, "data": data, "plan": {"steps": 2}}
    path = folder / "compares.yaml"
    path.write_text(yaml.safe_dump(keys))
    assert main(["train", str(path)]) == 0, capsys.readouterr().err
    before = load_file(resolve(DELAY) / "model.safetensors")
    after = load_file(folder / "compares" / "model.safetensors")
    new = {name for name in after if name.startswith("similarity_head.")}
    assert len(new) == 13
    assert {n for n in before if not n.startswith("similarity_head.")} == after.keys() - new
    assert all(torch.equal(after[name], before[name]) for name in after.keys() - new)
    last = read_log(folder / "compares.training" / "log.jsonl")[-1]
    assert (last["step"], last["found"]) in {(2, 0.0), (2, 0.5), (2, 1.0)}
    PixVoxLM(PixVoxConfig.tiny()).save_pretrained(folder / "sees")
    path.write_text(yaml.safe_dump(keys | {"start_from": str(folder / "sees")}))
    assert main(["train", str(path)]) == 2
    assert "has no null image, over which speech is encoded" in capsys.readouterr().err


def test_units_without_sound_train_a_model_and_its_head(
    folder: Path, scenes: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    codec, silent = Codec.load("zoo:encodec-tiny", 1.6), folder / "silent"
    silent.mkdir()
    lines, units = [], {}
    for item in scenes.items[:3]:
        shutil.copy(item.image, silent)
        captions = item.captions[:2]
        for number, caption in enumerate(captions):
            assert caption.units is not None
            stored = stored_units(caption.units, codec)
            assert stored is not None
            units[name_of(item.image.stem, number)] = stored.numpy()
        lines.append({"image": item.image.name, "captions": [{"text": c.text} for c in captions]})
    (silent / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_packed(silent / "units.npz", codec.digest, units)
    data = {"name": "folder", "folder": str(silent / "work")}
    data |= {key: str(silent / "train.jsonl") for key in ("manifest", "validation")}
    plan = PLAN | {"steps": 2, "validate_every": 2}
    of_model = _job(folder, "of-units", data=data, vision=None, start_from=DELAY, plan=plan)
    job: PixVoxJob = parse(of_model, TrainingJob)
    work(job, torch.device("cpu"), 0)
    assert [row["step"] for row in read_log(folder / "of-units.training" / "log.jsonl")] == [1, 2]
    head = folder / "head-of-units.yaml"
    keys = {"kind": "similarity", "output": str(folder / "head-of-units"), "size": 8, "threads": 1}
    keys |= {"start_from": str(job.output), "data": data, "plan": {"steps": 1}}
    head.write_text(yaml.safe_dump(keys))
    assert main(["train", str(head)]) == 0, capsys.readouterr().err
    assert read_log(folder / "head-of-units.training" / "log.jsonl")[-1]["step"] == 1
    # The model says what it was trained on, and its head keeps that.
    for output in ("of-units", "head-of-units"):
        stated = json.loads((folder / output / "config.json").read_text())
        assert stated["trained_on"] == ["scenes", "folder"]
    assert "| trained on | scenes, folder |" in (folder / "of-units" / "README.md").read_text()


def test_stages_of_a_recipe_are_trained_in_order_or_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = {"steps": 1, "batch": 2}
    stages = [
        {"kind": "vision", "output": str(tmp_path / name), "images": 4, "plan": plan}
        for name in ("first", "second")
    ]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"stages": stages}))
    assert main(["train", str(recipe), "--stage", "second"]) == 0
    assert not (tmp_path / "first").exists()
    assert main(["train", str(recipe)]) == 0
    trained = [tmp_path / "second", tmp_path / "first", tmp_path / "second"]
    assert capsys.readouterr().out == "".join(f"weights: {folder}\n" for folder in trained)
    for words, message in (
        (["--stage", "third"], "--stage third: no such stage; choose first, second"),
        (["--seed", "3"], "--seed: is for one stage; add --stage with one of first, second"),
        (["--set", "stages.1.plan.steps=0"], "stages[1].plan.steps"),
        (["--set", f"stages.1.output={tmp_path / 'first'}"], "two have an output called first"),
    ):
        assert main(["train", str(recipe), *words]) == 2
        assert message in capsys.readouterr().err


def test_another_seed_is_another_training_beside_it(folder: Path) -> None:
    job: PixVoxJob = parse(_job(folder, "one"), TrainingJob)
    other = seeded(job, 4)
    assert (other.output, other.plan.seed) == (folder / "one-seed4", 4)
    assert replace(other.plan, seed=job.plan.seed) == job.plan


def test_a_judge_hears_whether_speech_is_of_its_picture(folder: Path, scenes: Dataset) -> None:
    judge = {"images": 5, "decoding": {"guidance": 2, "max_seconds": 4}}
    job = parse(_job(folder, "judged", judge=judge), TrainingJob)
    model = PixVoxLM.from_pretrained(resolve(DELAY), dtype=torch.float32).eval()
    items = scenes.items[:5]
    heard = SpeechJudge(job, items, 1)(model)
    assert list(heard) == ["speech", "BLEU-4", "fact F1", "ended"]
    assert heard["speech"] == (heard["BLEU-4"] + heard["fact F1"]) / 2
    assert heard["ended"] == 100
    moved = zip(items, items[1:] + items[:1], strict=True)
    wrong = [replace(item, image=other.image) for item, other in moved]
    assert SpeechJudge(job, wrong, 1)(model)["speech"] < heard["speech"] / 2


CODEC = {"kind": "codec", "clips": 2, "plan": {"steps": 100_000, "batch": 2, "crop_seconds": 0.1}}
VISION = {"kind": "vision", "images": 40, "plan": {"steps": 100_000, "batch": 2}}
LONG = {"workers": 1, "plan": PLAN | {"steps": 100_000, "checkpoint_every": 100_000}}


def _stopped(path: Path, log: Path, number: signal.Signals, after: int) -> tuple[int, str]:
    """Starts a training and sends its parent a signal after some steps; exit code and stderr."""
    command = [sys.executable, "-m", "bench.cli", "train", str(path)]
    driver = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    while not log.exists() or len(read_log(log)) < after:
        assert driver.poll() is None, "the training ended before it could be stopped"
        time.sleep(0.02)
    driver.send_signal(number)
    _, errors = driver.communicate()
    return driver.returncode, errors


@pytest.mark.parametrize(
    ("name", "changes", "number"),
    [
        ("codec", CODEC, signal.SIGTERM),
        ("vision", VISION, signal.SIGINT),
        ("pixvox", LONG, signal.SIGTERM),
    ],
)
def test_a_training_that_is_stopped_keeps_its_last_step_and_says_so(
    folder: Path, name: str, changes: dict[str, object], number: signal.Signals
) -> None:
    path = _job(folder, f"stopped-{name}", **changes)
    if name != "pixvox":
        keys = ("kind", "output", "clips", "images", "plan") + ("data",) * (name == "codec")
        content = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump({k: v for k, v in content.items() if k in keys}))
    state = folder / f"stopped-{name}.training"
    code, errors = _stopped(path, state / "log.jsonl", number, 1)
    assert code == 128 + number, errors
    step = torch.load(state / "state.pt", weights_only=True)["step"]
    steps = [row["step"] for row in read_log(state / "log.jsonl")]
    assert steps == list(range(1, step + 1))
    assert f"state.pt: the checkpoint of step {step}, from which" in errors
    assert not (folder / f"stopped-{name}").exists()
    if name == "pixvox":
        # That it resumes from there is the other tests'; Ray takes long to start.
        return
    code, errors = _stopped(path, state / "log.jsonl", number, step + 1)
    assert code == 128 + number, errors
    steps = [row["step"] for row in read_log(state / "log.jsonl")]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) > step
