"""Image encoders: the supported types, their scaling of pictures, and their states.

Everything that depends on the type of an image encoder is in this file. The encoders are
transformers' own classes; PixVoxLM's decoder gets image states `[B, P, D]` from each of them.
"""

import json
import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from pixvox.digests import WeightsError, read_json
from pixvox.loading import load_whole
from pixvox.plugins import IMAGE_ENCODERS, PluginError, plugins

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel

DEFAULT_TYPE = "blip_vision_model"
"""The published model's image encoder, and that of configurations without a type."""
MODELS = {
    DEFAULT_TYPE: "BlipVisionModel",
    "clip_vision_model": "CLIPVisionModel",
    "siglip_vision_model": "SiglipVisionModel",
    "dinov2": "Dinov2Model",
    "vit": "ViTModel",
    "efficientnet": "EfficientNetModel",
    "convnext": "ConvNextModel",
}
"""transformers' class of each image encoder by its `model_type`; AutoModel lacks BLIP's."""
_VISION_PART = {
    "blip": "blip_vision_model",
    "clip": "clip_vision_model",
    "siglip": "siglip_vision_model",
}
"""Types of models of images and texts, with the type of their `vision_config`."""

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation of CLIP, which BLIP uses, of RGB values from 0 to 1."""
MAX_SIZE = 8192
"""The largest side of an image encoder's pictures, px."""


@dataclass(frozen=True)
class ImageScaling:
    """The scaling of pictures for an image encoder: squares of `size` px, `(value - mean) / std`.

    `mean` and `std` are of red, green and blue as values from 0 to 1; the defaults are BLIP's.
    Raises WeightsError for invalid values.
    """

    size: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD

    def __post_init__(self) -> None:
        if not _is_whole(self.size) or not 1 <= self.size <= MAX_SIZE:
            raise WeightsError(
                f"image_size is {str(self.size)[:40]}; give a whole number from 1 to {MAX_SIZE}"
            )
        for name, values in (("image_mean", self.mean), ("image_std", self.std)):
            if len(values) != 3 or not all(_is_finite(value) for value in values):
                raise WeightsError(f"{name} is {str(values)[:80]}; give three numbers")
        if min(self.std) <= 0:
            raise WeightsError(f"image_std is {str(self.std)[:80]}; give numbers above 0")


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: object) -> TypeGuard[float]:
    return (_is_whole(value) or isinstance(value, float)) and math.isfinite(value)


def triple(values: object, name: str) -> tuple[float, float, float]:
    """Returns three numbers from a JSON list, or one number three times; raises WeightsError."""
    if _is_finite(values):
        values = [values] * 3
    if isinstance(values, Sequence) and len(values) == 3 and all(map(_is_finite, values)):
        red, green, blue = (float(value) for value in values)
        return red, green, blue
    raise WeightsError(f"{name} is {str(values)[:80]}; give three numbers")


def vision_config_of(
    given: "Mapping[str, Any] | PreTrainedConfig | None",
) -> "PreTrainedConfig":
    """Returns the configuration of an image encoder, as transformers' class of its `model_type`.

    Content without a `model_type` is BLIP's, and so is None; for a model of images and texts it is
    the vision part. Raises WeightsError for an unsupported type.
    """
    from transformers import CONFIG_MAPPING, PreTrainedConfig

    if isinstance(given, PreTrainedConfig):
        if given.model_type in _VISION_PART:
            given = given.vision_config
            assert isinstance(given, PreTrainedConfig)
        _check_supported(given.model_type)
        return _without_head(given)
    stated = dict(given or {})
    kind = stated.get("model_type", DEFAULT_TYPE)
    if kind in _VISION_PART:
        stated = {"model_type": _VISION_PART[kind]} | (stated.get("vision_config") or {})
        kind = stated["model_type"]
    _check_supported(kind)
    if kind in MODELS:
        config: PreTrainedConfig = CONFIG_MAPPING[kind](**stated)
    else:
        config = _plugin_class(kind).config_class(**stated)
    return _without_head(config)


def _check_supported(kind: object) -> None:
    if kind not in MODELS and kind not in plugins(IMAGE_ENCODERS):
        raise WeightsError(
            f"vision_config: {str(kind)[:40]!r} is no image encoder that PixVoxLM can use; use one "
            f"of {', '.join((*MODELS, *plugins(IMAGE_ENCODERS)))}"
        )


def _without_head(config: "PreTrainedConfig") -> "PreTrainedConfig":
    """Returns the configuration without SigLIP's pooling head, which image states do not use."""
    if not getattr(config, "vision_use_head", False):
        return config
    config = deepcopy(config)
    config.vision_use_head = False
    return config


def _model_class(config: "PreTrainedConfig") -> "type[PreTrainedModel]":
    import transformers

    if config.model_type not in MODELS:
        return _plugin_class(config.model_type)
    model_class: type[PreTrainedModel] = getattr(transformers, MODELS[config.model_type])
    return model_class


def _plugin_class(kind: str) -> "type[PreTrainedModel]":
    """Returns the class of a plug-in's image encoder by its `model_type`; raises WeightsError."""
    from transformers import PreTrainedModel

    plugin = plugins(IMAGE_ENCODERS)[kind]
    try:
        loaded: type[PreTrainedModel] = plugin.load(PreTrainedModel)
    except PluginError as error:
        raise WeightsError(str(error)) from error
    config_class = loaded.config_class
    if config_class is None or config_class.model_type != kind:
        raise WeightsError(
            f"plug-in {kind!r} ({IMAGE_ENCODERS}) of {plugin.release}: give {plugin.entry} a "
            f"config_class whose model_type is {kind!r}"
        )
    return loaded


def _model_options(config: "PreTrainedConfig") -> dict[str, Any]:
    # ViT's pooler does not affect image states, and many checkpoints lack it.
    return {"add_pooling_layer": False} if config.model_type == "vit" else {}


def new_vision(config: "PreTrainedConfig") -> "PreTrainedModel":
    """Returns an image encoder with random weights.

    PyTorch's attention (SDPA) is used if the model asks for it and the encoder has it; BLIP's has
    not.
    """
    model_class = _model_class(config)
    if config._attn_implementation == "sdpa" and not model_class._supports_sdpa:
        config._attn_implementation = "eager"
    return model_class(config, **_model_options(config))


def input_size(config: "PreTrainedConfig") -> int:
    """Returns the side of the pictures in px by a configuration; raises WeightsError."""
    size = getattr(config, "image_size", None)
    if not _is_whole(size) or not 1 <= size <= MAX_SIZE:
        raise WeightsError(
            f"image_size is {str(size)[:40]}; give a whole number from 1 to {MAX_SIZE}"
        )
    return size


def image_states(model: "PreTrainedModel", pixel_values: "Tensor") -> "Tensor":
    """Returns image states `[B, P, D]` of normalised pictures `[B, 3, H, W]`.

    For models of patches they are the last layer's states; for convolutional networks the cells of
    the last feature map `[B, D, h, w]`, row by row, after the mean of all cells: P = h * w + 1.
    """
    import torch

    states: Tensor = model(pixel_values).last_hidden_state
    if states.ndim == 3:
        return states
    cells = states.flatten(2).transpose(1, 2)
    # ViTs have a state for the whole picture, the CLS token's, before the patches. A feature map
    # has none, and every layer would have to learn to average; so the mean is placed first.
    return torch.cat([cells.mean(1, keepdim=True), cells], dim=1)


def state_shape(config: "PreTrainedConfig", size: int | None = None) -> tuple[int, int]:
    """Returns the number and width (P, D) of an image's states, without creating the encoder.

    `size` is the side of the pictures in px, if it is not the configuration's own. Raises
    WeightsError if the image encoder does not accept pictures of that size.
    """
    return _state_shape(config.to_json_string(), size or input_size(config))


@lru_cache(maxsize=64)
def _state_shape(content: str, size: int) -> tuple[int, int]:
    import torch

    config = vision_config_of(json.loads(content))
    try:
        with torch.device("meta"), torch.inference_mode():
            model = new_vision(config).eval()
            positions, width = image_states(model, torch.zeros(1, 3, size, size)).shape[1:]
    except (RuntimeError, ValueError, ArithmeticError) as error:
        reason = " ".join(str(error).split())[:160]
        raise WeightsError(
            f"vision_config: {config.model_type} takes no pictures of {size} px ({reason})"
        ) from error
    return int(positions), int(width)


def load_vision(folder: Path) -> "PreTrainedModel":
    """Returns a folder's image encoder in float32, alone or as a part of CLIP, SigLIP or BLIP.

    Raises WeightsError if its type is not supported, or its weights are not complete safetensors
    that fit its config.json.
    """
    config = _folder_config(folder)
    model = load_whole(_model_class(config), folder, config, **_model_options(config))
    # Otherwise every config.json that is saved from it would have the folder's name.
    model.config._name_or_path = ""
    return model


def _folder_config(folder: Path) -> "PreTrainedConfig":
    path = folder / "config.json"
    content = read_json(path)
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: not a JSON object; save or fetch the model again")
    if "model_type" not in content:
        raise WeightsError(f"{path}: no model's; name an image encoder's folder")
    try:
        return vision_config_of(content)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except Exception as error:
        # transformers' classes raise any exception of the first calculation with a wrong value.
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path}: {reason}; save or fetch the model again") from error


def scaling_of(folder: Path) -> ImageScaling:
    """Returns the scaling for a folder's image encoder, from its preprocessor_config.json.

    Without one it is the size in its config.json and BLIP's mean and standard deviation. Pictures
    are resized to squares even if a preprocessor would crop them, so that nothing at the edges is
    lost. Raises WeightsError if the content is not an image processor's.
    """
    path, stated = _preprocessor(folder)
    if stated is None:
        return ImageScaling(input_size(_folder_config(folder)))
    try:
        size = _side(stated)
        mean, std = _folded(stated)
        return ImageScaling(input_size(_folder_config(folder)) if size is None else size, mean, std)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error


def _preprocessor(folder: Path) -> tuple[Path, dict[str, Any] | None]:
    """Returns an image processor's file and content: its own file, or a part of the processor's."""
    path = folder / "preprocessor_config.json"
    if path.is_file():
        content = read_json(path)
    else:
        path = folder / "processor_config.json"
        whole = read_json(path) if path.is_file() else {}
        content = whole.get("image_processor") if isinstance(whole, dict) else whole
    if content is not None and not isinstance(content, dict):
        raise WeightsError(f"{path}: not a JSON object; save or fetch the model again")
    return path, content


def _side(stated: Mapping[str, Any]) -> int | None:
    """Returns the side in px of an image processor's square; None if it is not stated."""
    given = stated.get("crop_size") if stated.get("do_center_crop") else None
    given = stated.get("size") if given is None else given
    if isinstance(given, Mapping):
        sides = {
            given[key] for key in ("height", "width", "shortest_edge") if _is_whole(given.get(key))
        }
        if len(sides) != 1:
            raise WeightsError(f"size is {str(dict(given))[:80]}; give a square of one size")
        [given] = sides
    if given is not None and not _is_whole(given):
        raise WeightsError(f"size is {str(given)[:80]}; give a square of one size")
    return given


def _folded(
    stated: Mapping[str, Any],
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Returns the mean and standard deviation with the effect of all steps of an image processor.

    Its steps are `value * factor`, possibly minus 1, then `(value - mean) / std`, with values from
    0 to 255; ours are from 0 to 1.
    """
    factor = stated.get("rescale_factor", 1 / 255) if stated.get("do_rescale", True) else 1.0
    if not _is_finite(factor) or factor <= 0:
        raise WeightsError(f"rescale_factor is {str(factor)[:40]}; give a number above 0")
    mean, std, again = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)
    if stated.get("do_normalize", True):
        mean = triple(stated.get("image_mean", CLIP_MEAN), "image_mean")
        std = triple(stated.get("image_std", CLIP_STD), "image_std")
    if stated.get("include_top"):
        # EfficientNet's divides by the standard deviation twice: its file has the square root.
        again = triple(stated.get("image_std", CLIP_STD), "image_std")
    offset = 1.0 if stated.get("rescale_offset") else 0.0
    scale = 255 * factor
    # 1 / 255 is written with few digits; it is treated as exact, so mean and deviation do not
    # change.
    scale = 1.0 if abs(scale - 1) < 1e-4 else scale
    return (
        triple([(m + offset) / scale for m in mean], "image_mean"),
        triple([s * t / scale for s, t in zip(std, again, strict=True)], "image_std"),
    )
