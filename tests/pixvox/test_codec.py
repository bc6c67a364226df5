"""The shipped codec through transformers' EncodecModel: explicit bandwidth, clear refusals."""

import numpy as np
import pytest
import torch

from pixvox.codec.encodec import Codec
from pixvox.digests import WeightsError
from pixvox.errors import UnitsError


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
