"""A captioner over any image encoder: learnt, saved, loaded, and written with."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoProcessor,
    BlipForConditionalGeneration,
    BlipVisionConfig,
    EfficientNetConfig,
    PreTrainedConfig,
    ViTConfig,
)

from pixvox.captioner import Captioner, load_captioner
from pixvox.digests import WeightsError
from pixvox.training.captioner import (
    CaptionerTraining,
    TextSize,
    new_captioner,
    plain_words,
    processor_of,
    tokeniser_of,
    train_captioner,
)
from pixvox.vision import ImageScaling, image_states, new_vision
from pixvox.weights import resolve

_LAYERS = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
}
_GRID = {"in_channels": [32, 16], "out_channels": [16, 24], "strides": [2, 2]}
_GRID |= {"kernel_sizes": [3, 5], "num_block_repeats": [1, 1], "expand_ratios": [1, 2]}
_GRID |= {"width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280}
CAPTIONS = ["a red kite over the beach", "two cats sleep on a zebu"]
SCALING = ImageScaling(32, (0.5, 0.4, 0.3), (0.5, 0.6, 0.7))


def test_captions_become_plain_words() -> None:
    assert plain_words("A man , in an entry way .") == "a man in an entry way"
    assert plain_words('The dog\'s T-shirt: "No. 7"!') == "the dog's t-shirt no 7"


def test_rare_words_are_unknown() -> None:
    words = tokeniser_of(["a dog runs", "a dog sits"], least=2)
    assert sorted(words.get_vocab()) == ["[BOS]", "[PAD]", "[SEP]", "[UNK]", "a", "dog"]
    assert words("a dog runs")["input_ids"][-1] == words.unk_token_id


@pytest.mark.parametrize(
    "vision",
    [
        BlipVisionConfig(**_LAYERS, initializer_range=0.02),
        ViTConfig(**_LAYERS),
        EfficientNetConfig(image_size=32, **_GRID),
    ],
    ids=lambda config: config.model_type,
)
def test_it_learns_captions_over_each_encoder_and_is_the_same_when_loaded(
    tmp_path: Path, vision: PreTrainedConfig
) -> None:
    torch.manual_seed(0)
    encoder = new_vision(vision).eval()
    words = tokeniser_of(CAPTIONS)
    # Below it is replaced by the unknown word, as a rare word would be.
    zebu = words.convert_tokens_to_ids("zebu")
    plan = CaptionerTraining(steps=40, batch=8, learning_rate=5e-3, warmup=5, dropout=0.0)
    model = new_captioner(encoder, words, plan, TextSize(2, 48, 3))
    assert model.config.text_config.num_attention_heads == 3
    assert isinstance(model, BlipForConditionalGeneration | Captioner)
    pixels = torch.stack([torch.full((3, 32, 32), level) for level in (-1.0, 1.0)])
    with torch.inference_mode():
        states = image_states(encoder, pixels)
    # Two pictures that random weights tell apart well.
    states = torch.stack([states[0], -states[0]]).numpy()
    rows = [
        [words.bos_token_id, *words(text)["input_ids"], words.sep_token_id] for text in CAPTIONS
    ]
    tokens = torch.tensor([row + [0] * (8 - len(row)) for row in rows])
    tokens[tokens == zebu] = words.unk_token_id
    losses = [
        loss
        for _, loss in train_captioner(
            model, states, tokens, torch.tensor([0, 1]), plan=plan, folder=tmp_path / "state"
        )
    ]
    assert losses[-1] < losses[0] / 2
    model.save_pretrained(tmp_path / "model")
    processor_of(SCALING, words).save_pretrained(tmp_path / "model")
    loaded = load_captioner(tmp_path / "model")
    own, other = model.state_dict(), loaded.state_dict()
    assert own.keys() == other.keys()
    assert all(torch.equal(own[name], other[name]) for name in own)
    processor = AutoProcessor.from_pretrained(tmp_path / "model")
    picture = np.full((40, 30, 3), 128, np.uint8)
    given = processor(images=picture, return_tensors="pt")
    expected = (128 / 255 - torch.tensor(SCALING.mean)) / torch.tensor(SCALING.std)
    torch.testing.assert_close(given["pixel_values"][0, :, 0, 0], expected)
    for beams in (1, 3):
        how = {"num_beams": beams, "do_sample": False, "max_new_tokens": 12}
        how["suppress_tokens"] = [words.unk_token_id]
        captions = loaded.generate(given["pixel_values"], **how)
        assert torch.equal(captions, model.generate(given["pixel_values"], **how))
        text = processor.batch_decode(captions, skip_special_tokens=True)[0]
        assert text
        assert set(text.split()) <= set(" ".join(CAPTIONS).split()) - {"zebu"}


def test_a_captioner_of_transformers_loads_from_an_archive(tmp_path: Path) -> None:
    shipped = resolve("zoo:blip-captioner-tiny")
    shutil.copy(shipped / "config.json", tmp_path)
    expected = load_captioner(shipped).state_dict()
    torch.save(expected, tmp_path / "pytorch_model.bin")
    loaded = load_captioner(tmp_path).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in expected.items())


def test_a_captioner_that_is_damaged_is_one_line(tmp_path: Path) -> None:
    encoder = new_vision(ViTConfig(**_LAYERS))
    model = new_captioner(encoder, tokeniser_of(CAPTIONS), CaptionerTraining())
    model.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    stated = json.loads(path.read_text())
    stated["text_config"]["num_hidden_layers"] = 3
    path.write_text(json.dumps(stated))
    with pytest.raises(WeightsError, match=r"have no text_decoder\.bert\.encoder\.layer\.2"):
        load_captioner(tmp_path)
    path.write_text(json.dumps(stated | {"vision_config": {"model_type": "bert"}}))
    with pytest.raises(WeightsError, match=r"config\.json: .*'bert' is no image encoder"):
        load_captioner(tmp_path)
