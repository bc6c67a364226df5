"""The precision of float32 computations of models."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def precision(arithmetic: str) -> Iterator[None]:
    """Makes float32 products and convolutions on a GPU IEEE float32, if `arithmetic` is float32.

    PyTorch's default for cuDNN's convolutions and LSTMs is TF32, which rounds their inputs to 10
    bits. With `bfloat16` or `float16`, TF32 is used for products too: it rounds less than they do.
    The earlier settings are restored afterwards.
    """
    cudnn: Any = torch.backends.cudnn
    settings: tuple[Any, ...] = (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn)
    before = [setting.fp32_precision for setting in settings]
    wanted = "ieee" if arithmetic == "float32" else "tf32"
    try:
        for setting in settings:
            setting.fp32_precision = wanted
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value
