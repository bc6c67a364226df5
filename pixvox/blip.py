"""From BLIP to PixVoxLM: the image encoder and text decoder of a BLIP captioning checkpoint.

Li et al. 2022, "BLIP: Bootstrapping Language-Image Pre-training". The vision tower is taken as it
is; of the text decoder everything but the word embeddings and the language-model head, which the
codebooks' own embeddings and heads replace.
"""

import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import BlipVisionConfig

from pixvox.configuration import PixVoxConfig
from pixvox.digests import WeightsError, read_tensors
from pixvox.modeling import PixVoxLM
from pixvox.weights import resolve

_DECODER = "text_decoder.bert."
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
    """Our name of a BlipTextModel's parameter; None for what PixVoxLM has no use for."""
    for theirs, ours in _NAMES:
        renamed, found = re.subn(f"^{theirs}", ours, name)
        if found:
            return renamed
    return None


def blip_config(folder: Path, **changes: Any) -> PixVoxConfig:
    """The PixVoxConfig that fits a BLIP captioning folder; raises WeightsError if it is none."""
    try:
        stated = json.loads((folder / "config.json").read_text())
        vision, text = dict(stated["vision_config"]), dict(stated["text_config"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{folder}: config.json is not BLIP's (no vision_config and text_config); "
            "name a BLIP captioning checkpoint"
        ) from error
    # transformers' default is 8, captioning-base has 12, and 8 would load without a word.
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
    return PixVoxConfig(**({"vision_config": BlipVisionConfig(**vision)} | sizes | changes))


def _fit_positions(held: Tensor, fresh: Tensor) -> Tensor:
    """BLIP's positions `[P, M]`, cut or followed by freshly initialised ones to fit the model."""
    kept = min(len(held), len(fresh))
    return torch.cat([held[:kept].to(fresh), fresh[kept:]])


def from_blip(name: str, **changes: Any) -> PixVoxLM:
    """A PixVoxLM that starts from a BLIP captioning checkpoint: a folder or a hub id.

    `changes` are PixVoxConfig's options (pattern, num_codebooks, codec …). Embeddings and heads
    per codebook start anew, as do positions beyond the checkpoint's. Raises WeightsError where
    the checkpoint has other shapes, lacks a parameter, or would run code when loaded.
    """
    folder = resolve(name)
    model = PixVoxLM(blip_config(folder, **changes))
    own = model.state_dict()
    fresh = own["embeddings.positions.weight"]
    taken: dict[str, Tensor] = {}
    for key, value in read_tensors(folder):
        if key.startswith("vision_model."):
            taken["vision." + key.removeprefix("vision_model.")] = value
        elif key.startswith(_DECODER):
            ours = decoder_name(key.removeprefix(_DECODER))
            if ours is not None:
                taken[ours] = value
    position = taken.get("embeddings.positions.weight")
    if position is not None and position.shape[1:] == fresh.shape[1:]:
        taken["embeddings.positions.weight"] = _fit_positions(position, fresh)
    taken = {key: value for key, value in taken.items() if key in own}
    fresh_start = ("embeddings.codebooks.", "heads.")
    for key, value in own.items():
        if key.startswith(fresh_start):
            continue
        if key not in taken:
            raise WeightsError(f"{name}: has no weights for {key}; is it a BLIP captioning model?")
        if taken[key].shape != value.shape:
            raise WeightsError(
                f"{name}: {key} is {tuple(taken[key].shape)}, its config.json says "
                f"{tuple(value.shape)}; name a whole BLIP captioning checkpoint"
            )
    model.load_state_dict(taken, strict=False)
    return model.eval()
