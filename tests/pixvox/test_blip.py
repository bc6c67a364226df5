"""PixVoxLM is BLIP: the same weights give what transformers' own BLIP gives."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, BlipConfig, BlipForConditionalGeneration
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from pixvox.blip import blip_config, from_blip
from pixvox.card import PUBLISHED_TOTAL, PUBLISHED_TRAINABLE, count
from pixvox.configuration import PixVoxConfig
from pixvox.digests import WeightsError
from pixvox.modeling import PixVoxLM, count_config

CODEBOOKS, SIZE = 3, 16


@pytest.fixture
def blip(tmp_path: Path) -> tuple[BlipForConditionalGeneration, Path]:
    """A captioning checkpoint with random weights, saved by transformers as the public one is."""
    torch.manual_seed(0)
    shape = {"intermediate_size": 64, "num_hidden_layers": 2}
    text = {"hidden_size": 48, "encoder_hidden_size": 32, "num_attention_heads": 6}
    text |= {"vocab_size": 60, "bos_token_id": 1, "eos_token_id": 2, "sep_token_id": 3}
    vision = {"hidden_size": 32, "num_attention_heads": 4, "image_size": 32}
    vision |= {"initializer_range": 0.2}
    config = BlipConfig(text_config=text | shape, vision_config=vision | shape)
    model = BlipForConditionalGeneration(config).eval()
    for parameter in model.parameters():
        # Biases start at 0 and norms at 1, where swapping two of them would not be seen.
        parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path / "blip")
    return model, tmp_path / "blip"


def _load(folder: Path, **changes: object) -> PixVoxLM:
    return from_blip(str(folder), num_codebooks=CODEBOOKS, codebook_size=SIZE, **changes)


@pytest.mark.parametrize("cached", [False, True], ids=["uncached", "cached"])
def test_decoder_and_image_encoder_equal_blips(
    blip: tuple[BlipForConditionalGeneration, Path], cached: bool
) -> None:
    theirs, folder = blip
    ours = _load(folder, pattern="parallel")
    units = torch.randint(0, SIZE, (2, CODEBOOKS, 7))
    pixels = torch.randn(2, 3, 32, 32)
    inputs: list[torch.Tensor] = []
    ours.layers[-1].register_forward_hook(lambda *call: inputs.append(call[2]))
    with torch.no_grad():
        states = ours.encode_images(pixels)
        expected = theirs.vision_model(pixels).last_hidden_state
        torch.testing.assert_close(states, expected, atol=1e-5, rtol=0)
        summed = sum(e(units[:, q]) for q, e in enumerate(ours.embeddings.codebooks))
        bert = theirs.text_decoder.bert
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache()) if cached else None
        parts = summed.split(1, dim=1) if cached else (summed,)
        wanted = [
            bert(
                inputs_embeds=part.clone(),
                encoder_hidden_states=states,
                past_key_values=cache,
                use_cache=cached,
                is_decoder=True,
            ).last_hidden_state
            for part in parts
        ]
        memory = ours.remember(states)
        own = ours.new_cache(2, 7) if cached else None
        for start in range(7) if cached else (0,):
            now = units[:, :, start : start + 1] if cached else units
            ours.step(now, memory, own, start)
    torch.testing.assert_close(torch.cat(inputs, 1), torch.cat(wanted, 1), atol=1e-5, rtol=0)


def test_the_layer_before_blips_head_is_taken_where_it_is_asked_for(
    blip: tuple[BlipForConditionalGeneration, Path],
) -> None:
    theirs, folder = blip
    ours = _load(folder, head_transform=True)
    x = torch.randn(2, 3, 48)
    wanted = theirs.text_decoder.cls.predictions.transform(x)
    assert ours.transform is not None
    torch.testing.assert_close(ours.transform(x), wanted, atol=1e-5, rtol=0)
    assert _load(folder).transform is None


def test_more_positions_keep_blips_and_add_others(
    blip: tuple[BlipForConditionalGeneration, Path],
) -> None:
    theirs, folder = blip
    longer = _load(folder, max_position_embeddings=700).embeddings.positions.weight
    held = theirs.text_decoder.bert.embeddings.position_embeddings.weight
    assert torch.equal(longer[:512], held)
    assert longer.shape[0] == 700


def test_weights_survive_a_save_with_a_card(
    blip: tuple[BlipForConditionalGeneration, Path], tmp_path: Path
) -> None:
    model = _load(blip[1])
    model.save_pretrained(tmp_path / "ours")
    again = AutoModel.from_pretrained(tmp_path / "ours")
    assert isinstance(again, PixVoxLM)
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    card = tmp_path / "ours" / "README.md"
    assert f"{count(model).total:,}" in card.read_text()
    card.write_text("my own card")
    model.save_pretrained(tmp_path / "ours")
    assert card.read_text() == "my own card"


def test_the_base_size_is_the_papers() -> None:
    # Design notes, section 2: BlipVisionModel has 86.09M; with K heads and embeddings of 1024.
    counts = {k: count_config(PixVoxConfig.base(num_codebooks=k)) for k in (4, 8)}
    assert round(counts[4].vision / 1e6, 2) == 86.09
    assert round(counts[4].decoder / 1e6, 1) == 120.1
    assert round(counts[8].decoder / 1e6, 1) == 126.4
    assert abs(counts[8].decoder / PUBLISHED_TRAINABLE - 1) < 0.02
    assert abs(counts[8].total / PUBLISHED_TOTAL - 1) < 0.02


def test_the_number_of_heads_is_never_guessed(
    blip: tuple[BlipForConditionalGeneration, Path],
) -> None:
    file = blip[1] / "config.json"
    stated = json.loads(file.read_text())
    assert blip_config(blip[1]).num_attention_heads == 6
    del stated["text_config"]["num_attention_heads"]
    file.write_text(json.dumps(stated))
    with pytest.raises(WeightsError, match="12 for captioning-base"):
        _load(blip[1])


def test_a_folder_of_another_shape_is_refused(
    blip: tuple[BlipForConditionalGeneration, Path], tmp_path: Path
) -> None:
    file = blip[1] / "config.json"
    stated = json.loads(file.read_text())
    stated["text_config"]["intermediate_size"] = 96
    file.write_text(json.dumps(stated))
    with pytest.raises(WeightsError, match=r"layers.0.intermediate.weight is \(64, 48\)"):
        _load(blip[1])
    file.write_text('{"model_type": "bert"}')
    with pytest.raises(WeightsError, match="not BLIP's"):
        _load(blip[1])


class _Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this code ran",)


def test_a_pickle_that_would_run_code_is_refused(
    blip: tuple[BlipForConditionalGeneration, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (blip[1] / "model.safetensors").unlink()
    torch.save(blip[0].state_dict(), blip[1] / "pytorch_model.bin")
    assert count(_load(blip[1])).total > 0
    (blip[1] / "pytorch_model.bin").write_bytes(pickle.dumps({"weight": _Harm()}))
    with pytest.raises(WeightsError, match="save it as safetensors"):
        _load(blip[1])
    assert "this code ran" not in capsys.readouterr().out
