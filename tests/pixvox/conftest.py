"""Models small enough to train inside a test."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import BlipVisionConfig

from pixvox.configuration import PixVoxConfig
from pixvox.modeling import PixVoxLM


@pytest.fixture
def small_model() -> Callable[..., PixVoxLM]:
    """A factory of PixVoxLMs with random weights, 3 codebooks of 16, or with other options."""

    def make(pattern: str, **changes: Any) -> PixVoxLM:
        torch.manual_seed(0)
        vision = BlipVisionConfig(
            image_size=32,
            patch_size=16,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            initializer_range=0.02,
        )
        sizes: dict[str, Any] = {
            "vision_config": vision,
            "pattern": pattern,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "num_codebooks": 3,
            "codebook_size": 16,
            "frame_rate": 10,
        }
        return PixVoxLM(PixVoxConfig.tiny(**sizes | changes)).eval()

    return make
