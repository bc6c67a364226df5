"""Official EnCodec checkpoints: the names map one to one, and the package gives the same sound."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import EncodecConfig, EncodecModel

from pixvox.codec.encodec import Codec
from pixvox.codec.official import our_name
from pixvox.digests import WeightsError, archive_digest

# Read from the package's own encodec_model_24khz (encodec 0.1.1).
OFFICIAL = {
    "encoder.model.0.conv.conv.bias": "encoder.layers.0.conv.bias",
    "encoder.model.1.block.1.conv.conv.weight_g": (
        "encoder.layers.1.block.1.conv.parametrizations.weight.original0"
    ),
    "encoder.model.1.shortcut.conv.conv.weight_v": (
        "encoder.layers.1.shortcut.conv.parametrizations.weight.original1"
    ),
    "encoder.model.13.lstm.weight_ih_l0": "encoder.layers.13.lstm.weight_ih_l0",
    "decoder.model.3.convtr.convtr.weight_g": (
        "decoder.layers.3.conv.parametrizations.weight.original0"
    ),
    "decoder.model.3.convtr.convtr.bias": "decoder.layers.3.conv.bias",
    "quantizer.vq.layers.12._codebook.embed": "quantizer.layers.12.codebook.embed",
    "quantizer.vq.layers.31._codebook.cluster_size": "quantizer.layers.31.codebook.cluster_size",
}


def _their_name(name: str) -> str:
    name = re.sub(r"^(encoder|decoder)\.layers\.", r"\1.model.", name)
    # Transposed convolutions stand where the decoder upsamples.
    if re.match(r"decoder\.model\.(3|6|9|12)\.conv\.", name):
        name = name.replace(".conv.", ".convtr.convtr.", 1)
    else:
        name = name.replace(".conv.", ".conv.conv.", 1)
    name = name.replace(".parametrizations.weight.original0", ".weight_g")
    name = name.replace(".parametrizations.weight.original1", ".weight_v")
    return re.sub(r"^quantizer\.layers\.(\d+)\.codebook", r"quantizer.vq.layers.\1._codebook", name)


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> tuple[EncodecModel, Path]:
    """A 24 kHz codec with random weights, and the file that the package would have saved."""
    torch.manual_seed(0)
    model = EncodecModel(EncodecConfig()).eval()
    for layer in model.quantizer.layers:
        layer.codebook.embed.normal_()
    state = {_their_name(name): value for name, value in model.state_dict().items()}
    folder = tmp_path_factory.mktemp("official")
    torch.save(state, folder / "codec.th")
    whole = hashlib.sha256((folder / "codec.th").read_bytes()).hexdigest()
    return model, (folder / "codec.th").rename(folder / f"encodec_24khz-{whole[:8]}.th")


def test_names_map_as_in_the_package(official: tuple[EncodecModel, Path]) -> None:
    assert {name: our_name(name) for name in OFFICIAL} == OFFICIAL
    names = list(official[0].state_dict())
    assert [our_name(_their_name(name)) for name in names] == names


def test_an_official_file_is_the_same_codec(official: tuple[EncodecModel, Path]) -> None:
    model, path = official
    codec = Codec.load(str(path), 6.0)
    wave = np.random.default_rng(0).standard_normal(4800).astype(np.float32) * 0.1
    units = codec.encode(wave)
    with torch.no_grad():
        expected = model.encode(torch.from_numpy(wave)[None, None], bandwidth=6.0).audio_codes[0, 0]
    assert torch.equal(units, expected)
    assert codec.codebooks == 8
    assert codec.digest == archive_digest(path)


def test_other_bytes_than_the_name_promises_are_refused(
    official: tuple[EncodecModel, Path], tmp_path: Path
) -> None:
    wrong = tmp_path / "encodec_24khz-d7cc33bc.th"
    wrong.write_bytes(official[1].read_bytes())
    with pytest.raises(WeightsError, match="not d7cc33bc as its name says"):
        Codec.load(str(wrong), 6.0)


def test_another_models_file_is_refused(tmp_path: Path) -> None:
    torch.save({"encoder.model.0.conv.conv.bias": torch.zeros(32)}, tmp_path / "other.th")
    with pytest.raises(WeightsError, match="does not fit EnCodec's mono 24 kHz model"):
        Codec.load(str(tmp_path / "other.th"), 6.0)


_PACKAGE = """
import sys, numpy, torch
from encodec import EncodecModel
model = EncodecModel.encodec_model_24khz(pretrained=False).eval()
model.load_state_dict(torch.load(sys.argv[1], weights_only=True))
model.set_target_bandwidth(6.0)
wave = torch.from_numpy(numpy.load(sys.argv[2]))[None, None]
with torch.no_grad():
    frames = model.encode(wave)
    numpy.savez(sys.argv[3], units=frames[0][0][0].numpy(), wave=model.decode(frames)[0, 0].numpy())
"""


def test_the_package_itself_agrees(official: tuple[EncodecModel, Path], tmp_path: Path) -> None:
    # In a process of its own: a torchaudio that does not import breaks transformers too.
    if subprocess.run([sys.executable, "-c", "import encodec"], capture_output=True).returncode:
        pytest.skip("the encodec package does not import here; the mapping is tested above")
    wave = np.random.default_rng(0).standard_normal(12_000).astype(np.float32) * 0.1
    np.save(tmp_path / "wave.npy", wave)
    command = [sys.executable, "-c", _PACKAGE, str(official[1]), "wave.npy", "theirs.npz"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    theirs = np.load(tmp_path / "theirs.npz")
    codec = Codec.load(str(official[1]), 6.0)
    units = codec.encode(wave)
    np.testing.assert_array_equal(units.numpy(), theirs["units"])
    made = codec.decode(units)
    np.testing.assert_allclose(made, theirs["wave"][: len(made)], atol=1e-5)
