"""What transformers' users expect of a model, and what float32 and bfloat16 mean here."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import GenerationConfig

from pixvox.decoding import engine as engines
from pixvox.decoding.engine import Engine
from pixvox.decoding.sampling import Decoding
from pixvox.decoding.stepper import Shape, Stepper
from pixvox.modeling import PixVoxLM
from pixvox.precision import precision
from pixvox.weights import resolve

Make = Callable[..., PixVoxLM]


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randn(2, 3, 32, 32, generator=torch.manual_seed(1))


def test_gradient_checkpointing_changes_no_gradient(
    small_model: Make, pixels: torch.Tensor
) -> None:
    plain = small_model("delay").train()
    checkpointed = copy.deepcopy(plain)
    checkpointed.gradient_checkpointing_enable({"use_reentrant": False})
    assert checkpointed.is_gradient_checkpointing
    units, lengths = torch.arange(30).view(2, 3, 5) % 16, torch.tensor([5, 3])
    for model in (plain, checkpointed):
        torch.manual_seed(0)
        model(units, lengths, pixels).loss.backward()
    pairs = zip(plain.parameters(), checkpointed.parameters(), strict=True)
    assert all(
        first.grad is other.grad or torch.equal(first.grad, other.grad)  # type: ignore[arg-type]
        for first, other in pairs
    )


def test_pytorchs_attention_is_loaded_where_the_image_encoder_has_none() -> None:
    model = PixVoxLM.from_pretrained(resolve("zoo:pixvox-tiny-delay"), attn_implementation="sdpa")
    assert model.config._attn_implementation == "sdpa"
    assert model.get_input_embeddings() is model.embeddings


def test_a_generation_config_decodes_as_its_options(
    small_model: Make, pixels: torch.Tensor
) -> None:
    model = small_model("delay")
    config = GenerationConfig(do_sample=True, temperature=0.7, top_k=5, max_new_tokens=6)
    ours = model.generate(pixels, generation_config=config)
    same = model.generate(pixels, temperature=0.7, top_k=5, max_new_tokens=6)
    assert torch.equal(ours.units, same.units)
    # What stands beside it counts more.
    cool = model.generate(pixels, generation_config=config, temperature=0.01)
    assert not torch.equal(cool.units, ours.units)
    with pytest.raises(ValueError, match=r"generation_config: num_beams; generate\(\) takes"):
        model.generate(pixels, generation_config=GenerationConfig(num_beams=4))


def test_a_model_keeps_one_engine_until_it_is_trained(
    small_model: Make, pixels: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    created: list[Decoding] = []
    start = Engine.__init__

    def counted(self: Engine, model: Any, decoding: Decoding, **options: Any) -> None:
        created.append(decoding)
        start(self, model, decoding, **options)

    monkeypatch.setattr(engines.Engine, "__init__", counted)
    model = small_model("delay")
    first = model.generate(pixels, temperature=1.0, seed=1, max_seconds=1.0)
    model.generate(pixels, temperature=1.0, seed=2, max_seconds=1.0)
    assert len(created) == 1
    other = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    again = other.generate(pixels, temperature=1.0, seed=1, max_seconds=1.0)
    assert torch.equal(first.units, again.units)
    # Weights that a training changed are decoded with.
    model.train()
    with torch.no_grad():
        model.heads[0].weight.normal_()
    model.eval()
    changed = model.generate(pixels, temperature=1.0, seed=1, max_seconds=1.0)
    assert len(created) == 3
    assert not torch.equal(first.units, changed.units)


def test_a_model_over_several_devices_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for spread in ("auto", {"vision": 0, "layers": 1}):
        with pytest.raises(ValueError, match="it has to lie on one; give device_map='cuda:0'"):
            PixVoxLM.from_pretrained("anything", device_map=spread)


def test_a_device_that_cannot_decode_is_refused_in_one_line(
    small_model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model("delay")
    monkeypatch.setattr(PixVoxLM, "device", torch.device("mps"))
    with pytest.raises(ValueError, match="is on mps, which has no float64 for draws; decode on"):
        Engine(model, Decoding(max_seconds=1.0))


def test_scores_are_not_rounded_to_bfloat16(small_model: Make) -> None:
    model = small_model("delay")
    shape = Shape(slots=2, lanes=1, steps=16, dtype=torch.bfloat16, attention="dense", guided=False)
    stepper = Stepper(model, shape)
    with torch.inference_mode():
        stepper.remember(0, model.encode_images(torch.randn(1, 3, 32, 32))[0])
        scores = stepper.logits(torch.zeros(2, 3, dtype=torch.long), torch.zeros(2).long(), 16)
    assert scores.dtype == torch.float32
    assert not torch.equal(scores, scores.bfloat16().float())


def test_float32_is_not_tf32_and_settings_are_restored() -> None:
    cudnn: Any = torch.backends.cudnn
    before = cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision
    with precision("float32"):
        assert (cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision) == ("ieee", "ieee")
    with precision("bfloat16"):
        assert cudnn.conv.fp32_precision == "tf32"
    assert (cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision) == before
