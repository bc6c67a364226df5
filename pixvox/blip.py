"""From BLIP to PixVoxLM: the image encoder and text decoder of a BLIP captioning checkpoint.

Li et al. 2022, "BLIP: Bootstrapping Language-Image Pre-training". The vision tower is used
unchanged. Of the text decoder everything is used except the word embeddings and the language-model
head, which embeddings and heads for each codebook replace. The layer before that head is used if
the configuration asks for it (`head_transform`).
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import BlipVisionConfig

from pixvox.configfile import (
    SIZES,
    VISION_SIZES,
    check_config,
    check_sizes,
    read_config,
    wrap_config_errors,
)
from pixvox.configuration import PixVoxConfig
from pixvox.digests import WeightsError, read_tensors
from pixvox.modeling import PixVoxLM
from pixvox.shapes import Shapes, check_fit, shapes_of, tensor_shapes
from pixvox.weights import resolve

_DECODER = "text_decoder.bert."
_TRANSFORM = "text_decoder.cls.predictions.transform."
_POSITIONS = "embeddings.positions.weight"
_NAMES = (
    (r"embeddings\.position_embeddings\.", "embeddings.positions."),
    (r"embeddings\.LayerNorm\.", "embeddings.norm."),
    (r"encoder\.layer\.(\d+)\.(attention|crossattention)\.self\.", r"layers.\1.\2."),
    (
        r"encoder\.layer\.(\d+)\.(attention|crossattention)\.output\.dense\.",
        r"layers.\1.\2.output.",
    ),
    (
        r"encoder\.layer\.(\d+)\.(attention|crossattention)\.output\.LayerNorm\.",
        r"layers.\1.\2.norm.",
    ),
    (r"encoder\.layer\.(\d+)\.intermediate\.dense\.", r"layers.\1.intermediate."),
    (r"encoder\.layer\.(\d+)\.output\.dense\.", r"layers.\1.output."),
    (r"encoder\.layer\.(\d+)\.output\.LayerNorm\.", r"layers.\1.norm."),
)


def decoder_name(name: str) -> str | None:
    """Returns our name of a BlipTextModel's parameter; None for one that PixVoxLM does not have."""
    for theirs, ours in _NAMES:
        renamed, replaced = re.subn(f"^{theirs}", ours, name)
        if replaced:
            return renamed
    return None


def blip_config(folder: Path, **changes: Any) -> PixVoxConfig:
    """Returns the PixVoxConfig for a BLIP captioning folder; raises WeightsError for others."""
    stated = read_config(folder)
    vision, text = stated.get("vision_config"), stated.get("text_config")
    if not isinstance(vision, dict) or not isinstance(text, dict):
        raise WeightsError(
            f"{folder}: config.json is not BLIP's (no vision_config and text_config); "
            "name a BLIP captioning checkpoint"
        )
    # transformers' default is 8, captioning-base has 12, and 8 would load without an error.
    if "num_attention_heads" not in text:
        raise WeightsError(
            f"{folder}: config.json does not say text_config.num_attention_heads; "
            "add it (12 for captioning-base)"
        )
    sizes = {
        key: text[key]
        for key in (
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "max_position_embeddings",
            "layer_norm_eps",
        )
        if key in text
    }
    path = folder / "config.json"
    check_sizes(path, vision, VISION_SIZES)
    check_sizes(path, sizes, SIZES)
    with wrap_config_errors(path):
        config = PixVoxConfig(**({"vision_config": BlipVisionConfig(**vision)} | sizes | changes))
        return check_config(path, config)


T = TypeVar("T")


def _ours(theirs: Iterable[tuple[str, T]]) -> dict[str, T]:
    """Returns the tensors of a BLIP checkpoint by PixVoxLM's names; others are left out."""
    renamed: dict[str, T] = {}
    for key, value in theirs:
        if key.startswith("vision_model."):
            renamed["vision." + key.removeprefix("vision_model.")] = value
        elif key.startswith(_DECODER):
            ours = decoder_name(key.removeprefix(_DECODER))
            if ours is not None:
                renamed[ours] = value
        elif key.startswith(_TRANSFORM):
            name = key.removeprefix(_TRANSFORM).replace("LayerNorm.", "norm.")
            renamed[f"transform.{name}"] = value
    return renamed


def _wanted(config: PixVoxConfig) -> Shapes:
    """Returns the shapes that a BLIP checkpoint must have, without embeddings and heads."""
    shapes = shapes_of(PixVoxLM, config)
    fresh_start = ("embeddings.codebooks.", "heads.", "null_image")
    return {key: shape for key, shape in shapes.items() if not key.startswith(fresh_start)}


def check_blip(folder: Path, config: PixVoxConfig) -> None:
    """Raises WeightsError if a BLIP captioning folder's weights do not fit its config.json.

    It may have another number of positions: they are cut, or new ones are added.
    """
    held, wanted = _ours(tensor_shapes(folder).items()), _wanted(config)
    positions = held.get(_POSITIONS, ())
    if len(positions) == 2 and positions[1:] == wanted[_POSITIONS][1:]:
        wanted[_POSITIONS] = positions
    check_fit(folder, held, wanted)


def _fit_positions(held: Tensor, fresh: Tensor) -> Tensor:
    """Returns BLIP's positions `[P, M]`, cut or extended by new ones to fit the model."""
    shared = min(len(held), len(fresh))
    return torch.cat([held[:shared].to(fresh), fresh[shared:]])


def from_blip(name: str, **changes: Any) -> PixVoxLM:
    """Returns a PixVoxLM that starts from a BLIP captioning checkpoint: a folder or a hub id.

    `changes` are PixVoxConfig's options (pattern, num_codebooks, codec …). Embeddings and heads for
    each codebook are untrained, as are positions beyond the checkpoint's. Raises WeightsError if
    the checkpoint has other shapes, lacks a parameter, or would run code when loaded.
    """
    folder = resolve(name)
    config = blip_config(folder, **changes)
    check_blip(folder, config)
    model = PixVoxLM(config)
    own = model.state_dict()
    weights = {key: value for key, value in _ours(read_tensors(folder)).items() if key in own}
    weights[_POSITIONS] = _fit_positions(weights[_POSITIONS], own[_POSITIONS])
    model.load_state_dict(weights, strict=False)
    return model.eval()
