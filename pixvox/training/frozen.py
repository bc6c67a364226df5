"""Checkpoints without a frozen image encoder, which is loaded with the initial model."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pixvox.digests import WeightsError
from pixvox.modeling import PixVoxLM

_TOWER = "vision."


def _is_frozen(model: PixVoxLM) -> bool:
    return not any(parameter.requires_grad for parameter in model.vision.parameters())


def trained_state(model: PixVoxLM) -> dict[str, Tensor]:
    """Returns a model's weights and buffers without those of a frozen image encoder."""
    frozen = _is_frozen(model)
    return {
        name: value
        for name, value in model.state_dict().items()
        if not (frozen and name.startswith(_TOWER))
    }


def load_trained(model: PixVoxLM, state: Mapping[str, Tensor]) -> None:
    """Loads the result of `trained_state`, or an older state that includes the image encoder.

    Raises WeightsError if any other weight is missing.
    """
    result = model.load_state_dict(state, strict=False)
    missing = [name for name in result.missing_keys if not name.startswith(_TOWER)]
    if missing or result.unexpected_keys:
        raise WeightsError(f"a checkpoint without {missing or 'weights of this model'}")


def digest_of_frozen(model: PixVoxLM, train_vision: bool) -> str:
    """Returns the digest of a frozen image encoder, 16 hex digits; "" for one that is trained."""
    if train_vision:
        return ""
    digest = hashlib.sha256()
    for name, value in model.vision.state_dict().items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.detach().cpu().reshape(-1).view(torch.uint8)).data)
    return digest.hexdigest()[:16]


def check_frozen(path: Path, saved: Mapping[str, Any], model: PixVoxLM, train_vision: bool) -> None:
    """Raises WeightsError if a checkpoint belongs to another frozen image encoder.

    Older checkpoints have no digest; they include the encoder.
    """
    if "frozen" in saved and saved["frozen"] != digest_of_frozen(model, train_vision):
        raise WeightsError(
            f"{path}: the checkpoint was trained over another image encoder; name the one that it "
            "began with, or choose another output"
        )
