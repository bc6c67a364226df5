"""What a training step costs: operations as PyTorch counts them, and padding."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from pixvox.modeling import PixVoxLM
from pixvox.training.cost import step_flops
from pixvox.training.recipe import batches


@pytest.mark.parametrize("projection", [False, True])
def test_operations_are_those_that_pytorch_counts(
    small_model: Callable[..., PixVoxLM], projection: bool
) -> None:
    model = small_model("parallel", image_projection=projection, num_attention_heads=1).train()
    model.vision.requires_grad_(False)
    frames = 59
    units, lengths = torch.randint(0, 16, (4, 3, frames)), torch.tensor([frames] * 4)
    # With gradients, as those of the null image have them.
    states = torch.randn(4, model.config.image_positions, 32, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        model(units, lengths, image_states=states).loss.backward()
    steps = [frames + 1] * 4
    assert step_flops(model, steps) == pytest.approx(counter.get_total_flops(), rel=1e-9)


def test_batches_of_captions_are_padded_by_less_than_a_tenth() -> None:
    # As long as narrated captions: 155 frames on average, a quarter above 190.
    rng = np.random.default_rng(0)
    lengths = np.exp(rng.normal(5.0, 0.35, 5000)).astype(int).tolist()
    padded = sum(
        len(rows) * max(lengths[row] for row in rows) for rows in batches(lengths, 32, 0, 0)
    )
    assert 1 - sum(lengths) / padded < 0.1
