"""The operations of a training step, and the speed of this machine's matrix product."""

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pixvox.modeling import PixVoxLM

_SECONDS = 0.3
"""Seconds for which the machine's matrix product is measured."""


def _weights(*modules: nn.Module | None) -> int:
    """Returns the number of weights in the matrices of the modules' linear layers."""
    layers = [part for module in modules if module is not None for part in module.modules()]
    return sum(layer.weight.numel() for layer in layers if isinstance(layer, nn.Linear))


def step_flops(model: PixVoxLM, steps: Sequence[int]) -> float:
    """Returns the floating-point operations of an optimiser step over sequences of `steps`
    positions.

    Only matrix products are counted: two operations for each weight and position forwards, twice as
    many backwards, and those of attention, including its masked half (Chowdhery et al. 2022,
    "PaLM", appendix B). Image states come from the frozen encoder; embeddings are looked up.
    """
    config = model.config
    image = [model.projection] if model.projection is not None else []
    crossed: list[nn.Module] = []
    for layer in model.layers:
        crossed += [layer.crossattention.key, layer.crossattention.value]  # type: ignore[union-attr, list-item]
    # 1. products with weights: those over image states once an image, the rest once a position
    per_image = config.image_positions * _weights(*image, *crossed)
    per_step = _weights(*model.layers, *model.heads, model.transform) - _weights(*crossed)
    products = sum(steps) * per_step + len(steps) * per_image
    # 2. attention: queries by keys and probabilities by values, over the sequence and the image
    width = config.num_hidden_layers * config.hidden_size
    attended = sum(count * (count + config.image_positions) for count in steps)
    return 3.0 * (2 * products + 4 * width * attended)


def matrix_rate(model: PixVoxLM, dtype: torch.dtype, positions: int) -> float:
    """Returns operations a second of this machine's product of the model's largest shape.

    The product is `[positions, hidden_size]` by `[hidden_size, intermediate_size]`, in `dtype`, on
    the model's device and with PyTorch's threads.
    """
    config, device = model.config, next(model.parameters()).device
    left = torch.randn(positions, config.hidden_size, device=device).to(dtype)
    other = torch.randn(config.hidden_size, config.intermediate_size, device=device).to(dtype)

    def product() -> Tensor:
        result = left @ other
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return result

    product()
    begin, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - begin) < _SECONDS:
        product()
        count += 1
    return 2.0 * positions * config.hidden_size * config.intermediate_size * count / elapsed
