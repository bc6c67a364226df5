"""Any image encoder: the same PixVoxLM trains, is saved, loaded and generates over each."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    ConvNextConfig,
    Dinov2Config,
    EfficientNetConfig,
    PreTrainedConfig,
    SiglipVisionConfig,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

import pixvox
from bench.commands.model_info import info
from pixvox.card import count
from pixvox.configuration import PixVoxConfig
from pixvox.digests import WeightsError, digest
from pixvox.modeling import PixVoxLM, count_config
from pixvox.vision import (
    CLIP_MEAN,
    CLIP_STD,
    ImageScaling,
    image_states,
    load_vision,
    new_vision,
    scaling_of,
    state_shape,
    vision_config_of,
)

_LAYERS = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
}
_GRID = {"in_channels": (32, 16), "out_channels": (16, 24), "strides": (2, 2)}
_GRID |= {"kernel_sizes": (3, 5), "num_block_repeats": (1, 2), "expand_ratios": (1, 2)}
ENCODERS: list[tuple[PreTrainedConfig, tuple[int, int]]] = [
    (CLIPVisionConfig(**_LAYERS), (5, 32)),
    (SiglipVisionConfig(**_LAYERS), (4, 32)),
    (Dinov2Config(**{k: v for k, v in _LAYERS.items() if k != "intermediate_size"}), (5, 32)),
    (ViTConfig(**_LAYERS), (5, 32)),
    (
        EfficientNetConfig(
            image_size=32, width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280, **_GRID
        ),
        (17, 1280),
    ),
    (
        ConvNextConfig(
            image_size=32, num_stages=2, hidden_sizes=[16, 24], depths=[1, 1], patch_size=4
        ),
        (17, 24),
    ),
]
each_encoder = pytest.mark.parametrize(
    ("vision", "shape"), ENCODERS, ids=[config.model_type for config, _ in ENCODERS]
)
SCALING = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.6, 0.7]}


def _model(small_model: Any, vision: PreTrainedConfig, **changes: Any) -> PixVoxLM:
    sizes: dict[str, Any] = {
        "vision_config": vision,
        "null_image": True,
        "similarity_size": 8,
        **SCALING,
    }
    # Those of the zoo's codec, which tiny models name.
    sizes |= {"num_codebooks": 4, "codebook_size": 256, "frame_rate": 50}
    model: PixVoxLM = small_model("delay", **sizes | changes)
    return model


@each_encoder
def test_each_encoder_trains_and_is_the_same_when_loaded(
    small_model: Any, tmp_path: Path, vision: PreTrainedConfig, shape: tuple[int, int]
) -> None:
    model = _model(small_model, vision).train()
    units, lengths = torch.randint(0, 256, (3, 4, 6)), torch.tensor([6, 4, 5])
    pixels = torch.randn(3, 3, 32, 32)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    before, losses = {n: b.clone() for n, b in model.named_buffers()}, []
    for _ in range(2):
        loss = model(units, lengths, pixel_values=pixels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]
    # Batch normalisation keeps its statistics, or a step would depend on how a batch is cut.
    assert all(torch.equal(b, before[n]) for n, b in model.named_buffers() if "running" in n)
    model.eval().save_pretrained(tmp_path)
    states = model.encode_images(pixels)
    assert states.shape == (3, *shape)
    assert state_shape(model.config.vision_config) == shape
    loaded = pixvox.load(tmp_path)
    assert loaded.model.config.scaling == ImageScaling(32, (0.5, 0.4, 0.3), (0.5, 0.6, 0.7))
    assert loaded.processor.scaling == loaded.model.config.scaling
    again = pixvox.PixVoxProcessor.from_pretrained(tmp_path)
    assert again.scaling == loaded.model.config.scaling
    with torch.inference_mode():
        assert torch.equal(loaded.model.encode_images(pixels), states)
    how = {"temperature": 1.0, "guidance": 2.0, "candidates": 2, "max_seconds": 1.0}
    generated, expected = loaded.model.generate(pixels, **how), model.generate(pixels, **how)
    assert torch.equal(generated.units, expected.units)


@each_encoder
def test_auto_classes_card_counts_and_model_info_are_of_each_encoder(
    small_model: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    vision: PreTrainedConfig,
    shape: tuple[int, int],
) -> None:
    from transformers import AutoModel, AutoProcessor

    model = _model(small_model, vision)
    model.save_pretrained(tmp_path)
    assert isinstance(AutoModel.from_pretrained(tmp_path), PixVoxLM)
    assert AutoProcessor.from_pretrained(tmp_path).image_mean == SCALING["image_mean"]
    counts = count(model)
    assert counts == count_config(model.config)
    assert counts.vision == sum(p.numel() for p in model.vision.parameters()) > 0
    card = (tmp_path / "README.md").read_text()
    assert f"| {vision.model_type}, {shape[0]} states of {shape[1]} for each picture |" in card
    assert info(str(tmp_path)) == 0
    assert f"{vision.model_type}, 32 px, {shape[0]} states of {shape[1]}" in capsys.readouterr().out


@each_encoder
def test_an_encoder_alone_is_loaded_as_it_was_saved(
    tmp_path: Path, vision: PreTrainedConfig, shape: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    encoder = new_vision(vision_config_of(vision)).eval()
    encoder.save_pretrained(tmp_path)
    loaded = load_vision(tmp_path)
    assert str(tmp_path) not in loaded.config.to_json_string()
    pixels = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        states = image_states(loaded, pixels)
        assert torch.equal(states, image_states(encoder, pixels))
    assert states.shape == (2, *shape)
    assert scaling_of(tmp_path) == ImageScaling(32, CLIP_MEAN, CLIP_STD)
    (tmp_path / "model.safetensors").write_bytes(
        (tmp_path / "model.safetensors").read_bytes()[:-400]
    )
    with pytest.raises(WeightsError, match="damaged or cut short"):
        load_vision(tmp_path)


def test_the_first_state_of_a_feature_map_is_the_mean_of_its_cells() -> None:
    config, _ = ENCODERS[4]
    model = new_vision(config).eval()
    pixels = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        grid = model(pixels).last_hidden_state
        states = image_states(model, pixels)
    assert torch.equal(states[:, 1 + 4 * 2 + 3], grid[:, :, 2, 3])
    torch.testing.assert_close(states[:, 0], grid.mean((2, 3)))


def test_pictures_of_another_size_have_another_number_of_states_or_are_refused() -> None:
    assert state_shape(ENCODERS[2][0], 64) == (17, 32)
    assert state_shape(ENCODERS[5][0], 64) == (65, 24)
    assert PixVoxConfig.tiny(vision_config=ENCODERS[2][0], image_size=48).image_positions == 10
    with pytest.raises(WeightsError, match="clip_vision_model takes no pictures of 48 px"):
        state_shape(ENCODERS[0][0], 48)


def test_the_vision_part_of_clip_and_the_encoder_of_a_classifier_are_loaded(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "vocab_size": 9}
    text |= {"num_attention_heads": 2}
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=_LAYERS)).eval()
    clip.save_pretrained(tmp_path / "clip")
    pixels = torch.randn(1, 3, 32, 32)
    classifier = ViTForImageClassification(ViTConfig(**_LAYERS)).eval()
    classifier.save_pretrained(tmp_path / "classifier")
    with torch.inference_mode():
        expected = clip.vision_model(pixels).last_hidden_state
        assert torch.equal(image_states(load_vision(tmp_path / "clip"), pixels), expected)
        expected = classifier.vit(pixels).last_hidden_state
        assert torch.equal(image_states(load_vision(tmp_path / "classifier"), pixels), expected)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"size": 224}, ImageScaling(32, (0.5,) * 3, (0.5,) * 3)),
        ({"size": {"height": 32, "width": 32}}, ImageScaling(32, (0.5,) * 3, (0.5,) * 3)),
        (
            {"size": {"shortest_edge": 36}, "do_center_crop": True, "crop_size": {"height": 32}},
            ImageScaling(32, (0.5,) * 3, (0.5,) * 3),
        ),
        ({"do_normalize": False}, ImageScaling(32, (0.0,) * 3, (1.0,) * 3)),
        (
            {"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False},
            ImageScaling(32, (0.5,) * 3, (0.5,) * 3),
        ),
        ({"rescale_factor": 0.00392156, "include_top": True}, ImageScaling(32, std=(0.25,) * 3)),
    ],
)
def test_what_an_image_processor_does_is_one_scaling(
    tmp_path: Path, given: dict[str, Any], expected: ImageScaling
) -> None:
    ENCODERS[3][0].save_pretrained(tmp_path)
    stated = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3} | given
    if "include_top" in given:
        stated["image_mean"] = list(CLIP_MEAN)
    if given.get("size") == 224:
        expected = ImageScaling(224, expected.mean, expected.std)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(stated))
    scaling = scaling_of(tmp_path)
    assert scaling.size == expected.size
    assert scaling.mean == pytest.approx(expected.mean)
    assert scaling.std == pytest.approx(expected.std)
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": stated}))
    assert scaling_of(tmp_path) == scaling


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"model_type": "bert"}, "config.json: vision_config: 'bert' is no image encoder that"),
        ({"hidden_size": 8}, "no model's; name an image encoder's folder"),
        ({"model_type": "vit", "hidden_size": "big"}, "hidden_size"),
    ],
)
def test_a_folder_without_an_image_encoder_is_one_line(
    tmp_path: Path, stated: dict[str, Any], message: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(stated))
    with pytest.raises(WeightsError, match=message) as error:
        load_vision(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"size": {"height": 32, "width": 48}}, "give a square of one size"),
        ({"image_std": [0.5, 0, 0.5]}, "give numbers above 0"),
        ({"image_mean": "grey"}, "image_mean is grey; give three numbers"),
        ({"rescale_factor": 0}, "rescale_factor is 0; give a number above 0"),
        ([1], "not a JSON object"),
    ],
)
def test_a_preprocessor_that_is_none_is_one_line(tmp_path: Path, stated: Any, message: str) -> None:
    ENCODERS[3][0].save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(stated))
    with pytest.raises(WeightsError, match=f"preprocessor_config.json: .*{message}"):
        scaling_of(tmp_path)


def test_weights_that_lack_a_tensor_or_have_another_shape_are_refused(tmp_path: Path) -> None:
    ViTModel(ViTConfig(**_LAYERS)).save_pretrained(tmp_path)
    for changes, message in (
        ({"num_hidden_layers": 3}, "the weights have no "),
        ({"intermediate_size": 48}, r"is \(64,.*, and by its config.json \(48,"),
    ):
        ViTConfig(**_LAYERS | changes).save_pretrained(tmp_path)
        with pytest.raises(WeightsError, match=message):
            load_vision(tmp_path)


def test_a_configuration_without_the_new_fields_is_blips_as_before(tmp_path: Path) -> None:
    config = PixVoxConfig.tiny()
    model = PixVoxLM(config)
    model.save_pretrained(tmp_path)
    stated = json.loads((tmp_path / "config.json").read_text())
    old = {k: v for k, v in stated.items() if not k.startswith("image_")}
    old["vision_config"].pop("model_type")
    (tmp_path / "config.json").write_text(json.dumps(old))
    before = digest(tmp_path)
    loaded = pixvox.load(tmp_path).model.config
    assert (loaded.vision_type, loaded.scaling) == ("blip_vision_model", ImageScaling(128))
    assert digest(tmp_path) == before


def test_scaling_that_no_picture_can_have_is_refused() -> None:
    for changes, message in (
        ({"image_size": 0}, "image_size is 0"),
        ({"image_std": [1, 1, -1]}, "give numbers above 0"),
        ({"image_mean": [1, 2]}, "give three numbers"),
        ({"vision_config": {"model_type": "gpt2"}}, "'gpt2' is no image encoder"),
    ):
        with pytest.raises(WeightsError, match=message):
            PixVoxConfig.tiny(**changes)
