"""`pixvox train` on real Ray Train: workers only divide the work, and a kill costs nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import BlipVisionModel

from bench.cli import main
from bench.training.log import read_log
from bench.training.pixvox import work
from bench.training.spec import PixVoxJob, TrainingJob
from bench.yamlfile import parse
from pixvox.configuration import PixVoxConfig

PLAN = {"steps": 10, "batch": 6, "micro_batch": 2, "learning_rate": 1e-3, "warmup": 2}
PLAN |= {"validate_every": 5, "checkpoint_every": 2, "precision": "float32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("train")
    torch.manual_seed(0)
    BlipVisionModel(PixVoxConfig.tiny().vision_config).save_pretrained(made / "vision")
    return made


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


def test_two_workers_killed_and_resumed_take_the_same_steps_as_one(folder: Path) -> None:
    alone: PixVoxJob = parse(_job(folder, "alone"), TrainingJob)
    work(alone, torch.device("cpu"), 0)

    command = [sys.executable, "-m", "bench.cli", "train", str(_job(folder, "killed"))]
    log = folder / "killed.training" / "log.jsonl"
    driver = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    while not log.exists() or len(read_log(log)) < 5:
        assert driver.poll() is None, "the training ended before it could be killed"
        time.sleep(0.02)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()
    before = len(read_log(log))
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert before < 10
    np.testing.assert_allclose(_losses(folder, "killed"), _losses(folder, "alone"), rtol=1e-4)
    assert (folder / "killed" / "model.safetensors").exists()
    assert "A PixVoxLM" in (folder / "killed" / "README.md").read_text()
    assert "<svg" in (folder / "killed.training" / "loss.svg").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": 40}, "raise positions, or set too_long: skip"),
        ({"bandwidth": 6.0}, "zoo:encodec-tiny has no bandwidth 6.0 kbps"),
        ({"blip": "here"}, "either blip or vision"),
        ({"vision": None, "blip": "nowhere"}, "nowhere: no config.json there"),
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
