"""Damaged or wrong weights and codecs give one line that names them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench.asr.shipped import DEFAULT
from bench.cli import main
from bench.common.errors import UserError
from bench.datasets.base import Caption, Dataset, Item
from bench.jobs.expansion import expand
from bench.jobs.spec import Job
from pixvox.weights import zoo_folder

ITEM = Item("a", Path("a.jpg"), (Caption("a dog"),))
MODEL = zoo_folder() / "pixvox-tiny-delay"


def _pixvox_job(weights: Path) -> Job:
    system = {"kind": "pixvox", "label": "mine", "weights": str(weights)}
    content = {"name": "a", "dataset": {"name": "scenes"}, "systems": [system]}
    return Job.model_validate(content)


def _changed(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not ...}, default=str))


def _cut(folder: Path, share: float) -> None:
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda f: _cut(f, 0.7), "damaged or cut short"),
        (lambda f: _cut(f, 0.001), "damaged or cut short"),
        (lambda f: (f / "model.safetensors").unlink(), "neither .safetensors nor|no .safetensors"),
        (lambda f: (f / "config.json").write_text("{"), "not JSON"),
        (lambda f: (f / "config.json").write_bytes(b"\xff"), "not JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "not a JSON object"),
        (lambda f: (f / "config.json").write_text("[" * 9999), "not JSON"),
        (lambda f: (f / "config.json").write_text('{"a": ' + "9" * 5000 + "}"), "not JSON"),
        (lambda f: _changed(f, model_type="bert"), "'bert', and 'pixvox' is needed|is not BLIP's"),
        (lambda f: _changed(f, pattern="dealy"), "unknown pattern 'dealy'"),
        (lambda f: _changed(f, pattern=3), "config.json: .*pattern"),
        (lambda f: _changed(f, hidden_size="big"), "config.json: .*hidden_size"),
        (lambda f: _changed(f, num_attention_heads=0), "config.json: "),
        (lambda f: _changed(f, num_hidden_layers=10**9), "num_hidden_layers is 1000000000"),
        (lambda f: _changed(f, num_codebooks=-1), "num_codebooks is -1"),
        (lambda f: _changed(f, vision_config=[1]), "config.json: "),
        (
            lambda f: _changed(f, intermediate_size=512),
            r"\(1024, 256\), and by its config.json \(512",
        ),
        (lambda f: _changed(f, num_hidden_layers=5), "have no layers.4"),
    ],
)
def test_damaged_or_wrong_weights_give_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Any, reason: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MODEL, folder)
    spoil(folder)
    with pytest.raises(UserError, match=rf"^mine: .*({reason})") as caught:
        expand(_pixvox_job(folder), Dataset("d", "s", "none", (ITEM,), digest="0"), [(DEFAULT, {})])
    assert "\n" not in str(caught.value)
    assert main(["show", "model", str(folder)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"codebook_size": 0},
        {"codebook_size": "a"},
        {"target_bandwidths": []},
        {"target_bandwidths": 3},
        {"upsampling_ratios": []},
        {"sampling_rate": 0},
        {"model_type": "bert"},
    ],
    ids=str,
)
def test_an_invalid_codec_gives_one_line(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = tmp_path / "codec"
    shutil.copytree(zoo_folder() / "encodec-tiny", folder)
    _changed(folder, **changes)
    system = {"kind": "resynthesis", "label": "mine", "codec": str(folder), "bandwidth": 1.6}
    job = Job.model_validate({"name": "a", "dataset": {"name": "scenes"}, "systems": [system]})
    with pytest.raises(UserError, match=r"^mine: ") as caught:
        expand(job, Dataset("d", "s", "none", (ITEM,), digest="0"), [(DEFAULT, {})])
    assert "\n" not in str(caught.value)
