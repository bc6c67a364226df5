"""The decoder: causal, cached like uncached, a loss over real frames only, and able to learn."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pixvox.decoding.engine import generate
from pixvox.decoding.requests import Request
from pixvox.decoding.sampling import Decoding
from pixvox.modeling import PixVoxLM
from pixvox.patternnames import PATTERN_NAMES
from pixvox.patterns import layout

Make = Callable[[str], PixVoxLM]
patterns = pytest.mark.parametrize("pattern", PATTERN_NAMES)


def _batch() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    units = torch.randint(0, 16, (3, 3, 9))
    return units, torch.tensor([9, 6, 1]), torch.randn(3, 3, 32, 32)


@patterns
def test_cached_steps_equal_the_whole_sequence(small_model: Make, pattern: str) -> None:
    model = small_model(pattern)
    units, lengths, pixels = _batch()
    with torch.no_grad():
        whole = model(units, lengths, pixels).logits
        sequence, _ = model.sequences(units, lengths)
        memory = model.remember(model.encode_images(pixels))
        cache = model.new_cache(3, sequence.shape[-1])
        steps = [
            model.step(sequence[:, :, s : s + 1], memory, cache, s)
            for s in range(sequence.shape[-1])
        ]
    torch.testing.assert_close(torch.cat(steps, 1), whole, atol=1e-5, rtol=0)


@patterns
def test_no_unit_sees_the_future(small_model: Make, pattern: str) -> None:
    model = small_model(pattern)
    units, lengths, pixels = _batch()
    changed = units.clone()
    changed[0, :, 5:] = (changed[0, :, 5:] + 1) % 16
    before, after = (model(u, lengths, pixels).logits for u in (units, changed))
    # The first step that predicts something of frame 5 is the last that may not know of it.
    first = int(layout(pattern, 3, 10).step_of[:, 5:].min()) + 1
    assert torch.equal(before[0, :first], after[0, :first])
    assert not torch.equal(before[0, first:], after[0, first:])


@patterns
def test_the_loss_does_not_depend_on_padding(small_model: Make, pattern: str) -> None:
    model = small_model(pattern)
    units, lengths, pixels = _batch()
    garbage = units.clone()
    garbage[1, :, 6:] = 3
    wider = torch.nn.functional.pad(garbage, (0, 4), value=7)
    expected = model(units, lengths, pixels).loss
    torch.testing.assert_close(model(wider, lengths, pixels).loss, expected)


@patterns
def test_every_target_carries_loss_once(small_model: Make, pattern: str) -> None:
    model = small_model(pattern)
    units, lengths, _ = _batch()
    _, targets = model.sequences(units, lengths)
    # All K codebooks and N frames, and the frame that ends the speech.
    assert (targets >= 0).sum((1, 2)).tolist() == [3 * (n + 1) for n in lengths.tolist()]
    assert (targets == model.config.empty).sum((1, 2)).tolist() == [3, 3, 3]


@patterns
def test_two_captions_are_learnt_by_heart(small_model: Make, pattern: str) -> None:
    model = small_model(pattern).train()
    units, lengths, pixels = (part[:2] for part in _batch())
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(200):
        optimiser.zero_grad()
        loss = model(units, lengths, pixels).loss
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.05
    model.eval()
    states = model.encode_images(pixels).detach()
    requests = [
        Request(item=str(i), image=i, prompt=torch.zeros(3, 0, dtype=torch.long)) for i in range(2)
    ]
    for row, wanted, length in zip(
        generate(model, states, requests, Decoding(slots=2, max_seconds=3)),
        units,
        lengths,
        strict=True,
    ):
        assert row.ended
        assert torch.equal(row.units, wanted[:, : int(length)])


def test_a_saved_model_comes_back(small_model: Make, tmp_path: Path) -> None:
    model = small_model("delay")
    model.save_pretrained(tmp_path)
    assert [p.name for p in tmp_path.glob("*.safetensors")] == ["model.safetensors"]
    again = PixVoxLM.from_pretrained(tmp_path).eval()
    units, lengths, pixels = _batch()
    assert torch.equal(again(units, lengths, pixels).logits, model(units, lengths, pixels).logits)
    assert again.config.vision_config.image_size == 32


def test_too_many_steps_are_refused(small_model: Make) -> None:
    model = small_model("parallel")
    with pytest.raises(ValueError, match="512 positions; lower max_seconds"):
        list(
            generate(
                model,
                torch.zeros(1, 5, 32),
                [Request(item="a", image=0, prompt=torch.zeros(3, 0, dtype=torch.long))],
                Decoding(max_seconds=60, slots=1),
            )
        )


@pytest.mark.parametrize("pattern", ["delay", "parallel"])
def test_training_computes_the_same_loss_as_evaluation(small_model: Make, pattern: str) -> None:
    # Training has an attention of its own on a CPU; without dropout nothing else differs.
    model = small_model(pattern, dropout=0.0)
    units, lengths = torch.randint(0, 16, (2, 3, 9)), torch.tensor([9, 6])
    states = torch.randn(2, model.config.image_positions, 32)
    evaluated = model(units, lengths, image_states=states).loss
    model.train()
    trained = model(units, lengths, image_states=states).loss
    assert trained.item() == pytest.approx(evaluated.item(), abs=1e-6)
