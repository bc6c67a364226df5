"""EnCodec by the package and by transformers: the same checkpoint, units and waveforms.

The weights are random; their names, shapes and config.json are those of the public files
(`encodec_24khz-d7cc33bc.th` and `facebook/encodec_24khz`).
"""

import hashlib
import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soxr
import torch
from safetensors.torch import save_file

from pixvox.codec import official
from pixvox.codec.encodec import Codec, TransformersEngine
from pixvox.codec.facts import codec_facts
from pixvox.codec.official import BANDWIDTHS, INSTALL, import_package
from pixvox.digests import WeightsError, archive_digest

HUB_CONFIG = {
    "_name_or_path": "ArthurZ/encodec_24khz",
    "architectures": ["EncodecModel"],
    "audio_channels": 1,
    "chunk_length_s": None,
    "codebook_dim": 128,
    "codebook_size": 1024,
    "compress": 2,
    "dilation_growth_rate": 2,
    "hidden_size": 128,
    "kernel_size": 7,
    "last_kernel_size": 7,
    "model_type": "encodec",
    "norm_type": "weight_norm",
    "normalize": False,
    "num_filters": 32,
    "num_lstm_layers": 2,
    "num_residual_layers": 1,
    "overlap": None,
    "pad_mode": "reflect",
    "residual_kernel_size": 3,
    "sampling_rate": 24000,
    "target_bandwidths": [1.5, 3.0, 6.0, 12.0, 24.0],
    "torch_dtype": "float32",
    "transformers_version": "4.31.0.dev0",
    "trim_right_ratio": 1.0,
    "upsampling_ratios": [8, 5, 4, 2],
    "use_causal_conv": True,
}


class Checkpoints(NamedTuple):
    """The package's model, and the files in which it and the hub publish one."""

    model: Any
    th: Path
    hub: Path


def _hub_name(name: str) -> str:
    """The name in `facebook/encodec_24khz` of one of the package's tensors."""
    name = re.sub(r"^(encoder|decoder)\.model\.", r"\1.layers.", name)
    name = re.sub(r"\.(conv\.conv|convtr\.convtr)\.", ".conv.", name)
    return re.sub(r"^quantizer\.vq\.layers\.(\d+)\._", r"quantizer.layers.\1.", name)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Checkpoints:
    folder = tmp_path_factory.mktemp("official")
    torch.manual_seed(0)
    model = import_package().EncodecModel.encodec_model_24khz(pretrained=False)
    for layer in model.quantizer.vq.layers:
        layer._codebook.embed.normal_()
    for parameter in model.parameters():
        # A new weight_g follows from its weight_v: a loader that drops it would not be noticed.
        parameter.data *= 1 + 0.1 * torch.randn_like(parameter)
    state = model.state_dict()
    torch.save(state, folder / "codec.th")
    digest = hashlib.sha256((folder / "codec.th").read_bytes()).hexdigest()
    th = (folder / "codec.th").rename(folder / f"encodec_24khz-{digest[:8]}.th")
    (folder / "hub").mkdir()
    (folder / "hub" / "config.json").write_text(json.dumps(HUB_CONFIG))
    named = {_hub_name(name): value.contiguous() for name, value in state.items()}
    save_file(named, folder / "hub" / "model.safetensors", {"format": "pt"})
    return Checkpoints(model, th, folder / "hub")


@pytest.fixture
def wave() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(12_000).astype(np.float32) * 0.1


def test_the_packages_file_is_the_packages_model(
    checkpoints: Checkpoints, wave: np.ndarray
) -> None:
    codec = Codec.load(str(checkpoints.th), 6.0)
    checkpoints.model.set_target_bandwidth(6.0)
    with torch.no_grad():
        frames = checkpoints.model.encode(torch.from_numpy(wave)[None, None])
        expected = checkpoints.model.decode(frames)[0, 0]
    units = codec.encode(wave)
    assert torch.equal(units, frames[0][0][0])
    np.testing.assert_allclose(codec.decode(units), expected, rtol=0, atol=1e-6)
    assert codec.digest == archive_digest(checkpoints.th)
    assert (codec.sample_rate, codec.frame_rate) == (24_000, 75)
    facts = {kbps: codec_facts(str(checkpoints.th), kbps) for kbps in BANDWIDTHS}
    assert list(BANDWIDTHS) == checkpoints.model.target_bandwidths
    assert [facts[kbps].codebooks for kbps in BANDWIDTHS] == [2, 4, 8, 16, 32]
    assert (codec.codebooks, codec.codebook_size, codec.frame_rate) == facts[6.0][1:]


def test_the_hubs_file_is_loaded_whole_and_agrees_with_the_package(
    checkpoints: Checkpoints, wave: np.ndarray
) -> None:
    package, hub = (Codec.load(str(path), 6.0) for path in (checkpoints.th, checkpoints.hub))
    assert isinstance(hub.engine, TransformersEngine)
    assert torch.equal(hub.engine.first_codebook(), package.engine.first_codebook())
    assert hub.engine.first_codebook().shape == (1024, 128)
    loaded = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for name, value in hub.engine.model.state_dict().items()
    }
    published = {_hub_name(k): value for k, value in checkpoints.model.state_dict().items()}
    assert loaded.keys() == published.keys()
    assert [name for name in loaded if not torch.equal(loaded[name], published[name])] == []
    units = hub.encode(wave)
    assert torch.equal(units, package.encode(wave))
    np.testing.assert_allclose(hub.decode(units), package.decode(units), atol=1e-5)


def test_a_name_of_the_package_is_fetched_once_and_is_its_file(
    checkpoints: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(official, "_CHECKPOINTS", {"24khz": checkpoints.th.name})
    module = import_package().model
    monkeypatch.setattr(module, "ROOT_URL", (tmp_path / "nowhere").as_uri() + "/")
    with pytest.raises(WeightsError, match=r"^encodec:24khz: file:.* was not fetched") as refused:
        codec_facts("encodec:24khz", 6.0)
    assert "\n" not in str(refused.value)
    monkeypatch.setattr(module, "ROOT_URL", checkpoints.th.parent.as_uri() + "/")
    assert codec_facts("encodec:24khz", 6.0) == codec_facts(str(checkpoints.th), 6.0)
    monkeypatch.setattr(module, "ROOT_URL", (tmp_path / "nowhere").as_uri() + "/")
    codec = Codec.load("encodec:24khz", 6.0)
    assert (codec.digest, codec.codebooks) == (archive_digest(checkpoints.th), 8)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files == [tmp_path / "hub" / "checkpoints" / checkpoints.th.name]


def test_other_bytes_than_the_name_promises_are_refused(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    wrong = tmp_path / "encodec_24khz-d7cc33bc.th"
    wrong.write_bytes(checkpoints.th.read_bytes())
    with pytest.raises(WeightsError, match="not d7cc33bc as its name says"):
        Codec.load(str(wrong), 6.0)


def test_another_model_or_bandwidth_is_refused(checkpoints: Checkpoints, tmp_path: Path) -> None:
    torch.save({"encoder.model.0.conv.conv.bias": torch.zeros(32)}, tmp_path / "other.th")
    with pytest.raises(WeightsError, match="does not fit EnCodec's mono 24 kHz model"):
        Codec.load(str(tmp_path / "other.th"), 6.0)
    with pytest.raises(WeightsError, match=r"no bandwidth 1\.6 kbps; choose one of \(1\.5, 3\.0"):
        Codec.load(str(checkpoints.th), 1.6)
    with pytest.raises(WeightsError, match="not a mono model of the package; choose encodec:24khz"):
        Codec.load("encodec:48khz", 6.0)


def test_without_the_package_the_command_that_installs_it_is_named(
    checkpoints: Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "einops", None)
    with pytest.raises(WeightsError, match=f"needs the package encodec; run: {INSTALL}$"):
        codec_facts(str(checkpoints.th), 6.0)


BROKEN = "import torchaudio.part\nraise OSError('libcudart.so.13: no such file')"


@pytest.mark.parametrize("torchaudio", [None, BROKEN, "from torchaudio import transforms"])
def test_torchaudio_is_replaced_only_where_it_does_not_import_and_only_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torchaudio: str | None
) -> None:
    """Without torchaudio, with one built for another PyTorch, and with one that works."""
    for name in list(sys.modules):
        if name.partition(".")[0] in ("encodec", "torchaudio"):
            monkeypatch.delitem(sys.modules, name)
    works = torchaudio is not None and torchaudio is not BROKEN
    if torchaudio is None:
        monkeypatch.setitem(sys.modules, "torchaudio", None)
    else:
        (tmp_path / "torchaudio").mkdir()
        (tmp_path / "torchaudio" / "__init__.py").write_text(torchaudio)
        (tmp_path / "torchaudio" / "part.py").touch()
        (tmp_path / "torchaudio" / "transforms.py").write_text("Resample = None")
        monkeypatch.syspath_prepend(tmp_path)
    package = import_package()
    left = sys.modules.pop("torchaudio", None)
    for name in ("torchaudio.part", "torchaudio.transforms"):
        sys.modules.pop(name, None)
    assert (left is not None) == works
    resample = package.utils.torchaudio.transforms.Resample
    assert (resample is official.Resample) == (not works)
    if not works:
        sound = torch.randn(2, 1600)
        resampled = package.utils.convert_audio(sound, 16_000, 24_000, 1)
        expected = soxr.resample(sound.mean(0).numpy(), 16_000, 24_000)
        np.testing.assert_array_equal(resampled[0], expected)
    importlib.invalidate_caches()
