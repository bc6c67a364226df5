"""Checkpoints without the image encoder where it is frozen: it is that of the start."""

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
    """A model's weights and buffers, without those of an image encoder that is not trained."""
    frozen = _is_frozen(model)
    return {
        name: value
        for name, value in model.state_dict().items()
        if not (frozen and name.startswith(_TOWER))
    }


def load_trained(model: PixVoxLM, state: Mapping[str, Tensor]) -> None:
    """Takes what `trained_state` gave; a state with the image encoder, of before, is as good.

    Raises WeightsError where anything else is missing.
    """
    result = model.load_state_dict(state, strict=False)
    missing = [name for name in result.missing_keys if not name.startswith(_TOWER)]
    if missing or result.unexpected_keys:
        raise WeightsError(f"a checkpoint without {missing or 'weights of this model'}")


def digest_of_frozen(model: PixVoxLM, train_vision: bool) -> str:
    """The digest of an image encoder that is not trained, 16 hex digits; empty for another."""
    if train_vision:
        return ""
    digest = hashlib.sha256()
    for name, value in model.vision.state_dict().items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.detach().cpu().reshape(-1).view(torch.uint8)).data)
    return digest.hexdigest()[:16]


def check_frozen(path: Path, saved: Mapping[str, Any], model: PixVoxLM, train_vision: bool) -> None:
    """Raises WeightsError where a checkpoint was made over another frozen image encoder.

    Checkpoints of before do not say over which, and have it themselves.
    """
    if "frozen" in saved and saved["frozen"] != digest_of_frozen(model, train_vision):
        raise WeightsError(
            f"{path}: the checkpoint was trained over another image encoder; name the one that it "
            "began with, or choose another output"
        )
