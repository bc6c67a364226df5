"""The similarity head finds which speech is of which image, and changes nothing else."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BlipVisionConfig

from pixvox.configuration import PixVoxConfig
from pixvox.decoding.candidates import best
from pixvox.decoding.requests import Generation, Request
from pixvox.digests import WeightsError
from pixvox.modeling import PixVoxLM
from pixvox.training.captions import SpokenCaptions
from pixvox.training.similarity import SimilarityTraining, train_similarity
from pixvox.training.speechstates import encode_all

IMAGES, CODEBOOKS, UNITS = 6, 2, 12


def _model(size: int = 16, pattern: str = "delay") -> PixVoxLM:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    config = PixVoxConfig(
        vision_config=BlipVisionConfig(image_size=32, patch_size=16, num_hidden_layers=1, **sizes),
        num_hidden_layers=1,
        max_position_embeddings=40,
        pattern=pattern,
        num_codebooks=CODEBOOKS,
        codebook_size=UNITS,
        frame_rate=10,
        null_image=True,
        similarity_size=size,
        initializer_range=0.3,
        **sizes,
    )
    return PixVoxLM(config).eval()


@pytest.fixture
def data() -> SpokenCaptions:
    """Three speeches of each image, which hold a unit of their own image's, of unlike lengths."""
    draw = torch.Generator().manual_seed(1)
    images = torch.randn(IMAGES, 5, 32, generator=draw).half().numpy()
    units = [
        torch.randint(IMAGES, UNITS, (CODEBOOKS, length), generator=draw)
        for _ in range(IMAGES)
        for length in (5, 9, 14)
    ]
    for row, speech in enumerate(units):
        speech[0, 1:4] = row // 3
    return SpokenCaptions(units, [row // 3 for row in range(len(units))], images)


PLAN = SimilarityTraining(steps=60, batch=IMAGES, learning_rate=1e-2, warmup=5, validate_every=60)


def test_speech_finds_its_image_and_the_rest_of_the_model_is_as_before(
    data: SpokenCaptions, tmp_path: Path
) -> None:
    model = _model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    *_, last = train_similarity(model, data, data, PLAN, folder=tmp_path)
    assert last.found == 1
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) != name.startswith("similarity_head."), name
    speech, own = data.units[0][None], torch.tensor([5])
    states = [torch.from_numpy(image)[None].float() for image in data.images]
    with torch.no_grad():
        fits = [float(model.similarity(speech, own, image)) for image in states]
    assert int(np.argmax(fits)) == 0
    assert -1 <= min(fits) <= max(fits) <= 1


def test_a_training_that_is_stopped_goes_on_as_if_it_had_not_been(
    data: SpokenCaptions, tmp_path: Path
) -> None:
    plan = SimilarityTraining(steps=6, batch=4, warmup=2)
    whole, halves = _model(), _model()
    unbroken = [
        step.loss for step in train_similarity(whole, data, data, plan, folder=tmp_path / "whole")
    ]
    losses: list[float] = []
    parts = tmp_path / "parts"
    parts.mkdir()
    # What another training encoded and left; what this one encodes lies there until it has ended.
    (parts / "encoded-0123.npy").touch()
    for step in train_similarity(
        halves, data, data, plan, folder=parts, stop=lambda: len(losses) == 3
    ):
        losses.append(step.loss)
    assert len(losses) == 3
    assert len(list(parts.glob("encoded-*"))) == 2
    resumed = _model()
    losses += [step.loss for step in train_similarity(resumed, data, data, plan, folder=parts)]
    assert losses == unbroken
    assert not list(parts.glob("encoded-*"))
    moved = _model()
    with torch.no_grad():
        moved.layers[0].intermediate.bias += 1
    with pytest.raises(WeightsError, match="the checkpoint of another model, recipe or data"):
        next(train_similarity(moved, data, data, plan, folder=parts))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_padding_and_neighbours_do_not_change_what_is_heard(data: SpokenCaptions) -> None:
    model = _model()
    units, lengths, states = data.batch([0, 2, 4])
    together = model.similarity(units, lengths, states.float())
    for row in range(3):
        speech = units[row : row + 1, :, : int(lengths[row])]
        alone = model.similarity(speech, lengths[row : row + 1], states[row : row + 1].float())
        torch.testing.assert_close(alone[0], together[row])


def test_steps_that_predict_nothing_are_not_heard(tmp_path: Path) -> None:
    model = _model(pattern="delays-0-9")
    speech = SpokenCaptions([torch.ones(CODEBOOKS, 3).long()], [0], np.zeros((1, 5, 32)))
    encoded = encode_all(model, speech, tmp_path / "encoded.npy", lambda *_: None)
    states, counted = encoded.batch([0])
    # Three frames and the end, in either codebook, with five steps between them.
    assert states.shape[:2] == counted.shape == (1, 8)
    whole, own = model.encode_speech(torch.ones(1, CODEBOOKS, 3).long(), torch.tensor([3]))
    torch.testing.assert_close(states, whole[own][None], rtol=0, atol=0.05)


def test_what_ended_is_kept_before_what_fits_and_nothing_only_where_there_is_nothing_else() -> None:
    model, image = _model(0), torch.randn(1, 5, 32)
    none = torch.zeros(CODEBOOKS, 0, dtype=torch.long)
    speech = [torch.randint(0, UNITS, (CODEBOOKS, 6)) for _ in range(2)]
    drawn = [
        Generation(item="a", units=none, ended=True),
        Generation(item="a", units=speech[0], ended=False),
        Generation(item="a", units=speech[1], ended=True),
        Generation(item="b", units=none, ended=True),
        Generation(item="b", units=speech[0], ended=False),
        Generation(item="b", units=none, ended=False, reason="damaged"),
    ]
    asked = [Request(item=speech.item, image=0, prompt=none) for speech in drawn]
    chosen = best(model, image, asked, drawn, candidates=3)
    assert [torch.equal(a.units, b) for a, b in zip(chosen, reversed(speech), strict=True)] == [
        True
    ] * 2
    assert best(model, image, asked[3:4] * 3, [drawn[5]] * 3, candidates=3) == [drawn[5]]


@pytest.mark.parametrize("changes", [{"similarity_size": 12}, {"null_image": False}])
def test_a_size_that_cannot_be_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(WeightsError, match="similarity_size"):
        PixVoxConfig.tiny(**{"similarity_size": 16, "null_image": True} | changes)
    with pytest.raises(ValueError, match="cannot compare"):
        _model(0).similarity(*[torch.zeros(1, 2, 3, dtype=torch.long)] * 3)
