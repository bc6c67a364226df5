"""The shipped codec through transformers' EncodecModel: explicit bandwidth, clear refusals."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import EncodecConfig, EncodecModel

from pixvox.codec.encodec import Codec, TransformersEngine
from pixvox.codec.facts import codec_facts
from pixvox.codec.seanet import Seanet
from pixvox.digests import WeightsError
from pixvox.errors import UnitsError
from pixvox.weights import resolve


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec.load("zoo:encodec-tiny", 1.6)


def test_units_and_speech_have_the_stated_shapes(codec: Codec) -> None:
    wave = np.sin(np.arange(16_000, dtype=np.float32) / 20) * 0.3
    units = codec.encode(wave)
    assert units.shape == (4, 50)
    assert (codec.sample_rate, codec.frame_rate, codec.codebooks) == (16_000, 50, 4)
    assert codec.decode(units).shape == (16_000,)


def test_the_codec_is_causal(codec: Codec) -> None:
    rng = np.random.default_rng(0)
    wave = rng.normal(size=16_000).astype(np.float32) * 0.1
    longer = np.concatenate([wave, rng.normal(size=8_000).astype(np.float32)])
    # What comes later changes no unit of what was, but for the last frame.
    assert torch.equal(codec.encode(longer)[:, :49], codec.encode(wave)[:, :49])


def test_speech_decoded_together_is_that_decoded_alone(codec: Codec) -> None:
    rng = np.random.default_rng(0)
    lengths = (1, 2, 3, 64, 65, 130, 7, 20, 90, 5)
    units = [torch.from_numpy(rng.integers(0, 256, (4, frames))) for frames in lengths]
    together = codec.decode_all(units)
    backwards = codec.decode_all(units[::-1])[::-1]
    assert isinstance(codec.engine, TransformersEngine)
    for alone, wave, other in zip(units, together, backwards, strict=True):
        np.testing.assert_array_equal(wave, codec.decode(alone))
        np.testing.assert_array_equal(wave, other)
        with torch.inference_mode():
            stock = codec.engine.model.decode(alone[None, None], [None]).audio_values[0, 0]
        np.testing.assert_allclose(wave, stock, rtol=0, atol=1e-6)


def test_samples_of_the_published_size_depend_on_no_neighbour() -> None:
    torch.manual_seed(0)
    decoder = EncodecModel(EncodecConfig()).eval().decoder
    ours = Seanet(decoder.layers)
    # Lengths around those of a block.
    vectors = [torch.randn(128, frames) for frames in (150, 3, 151, 12, 153)]
    together = ours(vectors)
    for vector, wave in zip(vectors, together, strict=True):
        assert torch.equal(wave, ours([vector])[0])
        with torch.inference_mode():
            torch.testing.assert_close(wave, decoder(vector[None])[0], rtol=0, atol=1e-6)


def test_a_codec_of_another_make_is_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(resolve("zoo:encodec-tiny"), tmp_path / "codec"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"normalize": True}))
    with pytest.raises(WeightsError, match="normalize is True; use a mono EnCodec"):
        codec_facts(str(folder), 1.6)


@pytest.mark.parametrize(
    ("units", "reason"),
    [
        (torch.zeros(4, 0, dtype=torch.long), "no frames"),
        (torch.zeros(3, 5, dtype=torch.long), "has 4"),
        (torch.full((4, 5), 256), "from 0 to 255"),
    ],
)
def test_units_that_cannot_be_spoken_are_refused(
    codec: Codec, units: torch.Tensor, reason: str
) -> None:
    with pytest.raises(UnitsError, match=reason):
        codec.decode(units)


def test_a_bandwidth_must_be_offered() -> None:
    with pytest.raises(WeightsError, match=r"no bandwidth 24\.0 kbps; choose one of \(1\.6,\)"):
        Codec.load("zoo:encodec-tiny", 24.0)


def test_weights_that_are_not_there_are_named() -> None:
    with pytest.raises(
        WeightsError, match="not in the zoo; choose one of blip-captioner-tiny, encodec-tiny"
    ):
        Codec.load("zoo:nothing", 1.6)
