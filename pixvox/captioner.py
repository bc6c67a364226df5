"""An image captioner over any image encoder, for cascades without BLIP's ViT.

BLIP's text decoder (Li et al. 2022, section 3.1) cross-attends to image states `[B, P, D]`.
transformers' own class supports only BLIP's vision model; this one supports every encoder of
pixvox.vision. Its processor is BLIP's, with the image encoder's scaling.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    BlipTextConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.blip.modeling_blip_text import BlipTextLMHeadModel

from pixvox.digests import WeightsError, read_json
from pixvox.loading import load_whole, without_bars
from pixvox.vision import image_states, new_vision, vision_config_of

if TYPE_CHECKING:
    from pixvox.vision import ImageScaling

TYPE = "pixvox_captioner"
"""The `model_type` in config.json."""


class CaptionerConfig(PreTrainedConfig):
    """An image encoder's configuration and a BLIP text decoder's."""

    model_type = TYPE
    sub_configs: ClassVar = {"vision_config": AutoConfig, "text_config": BlipTextConfig}

    vision_config: dict[str, Any] | PreTrainedConfig | None = None
    text_config: dict[str, Any] | PreTrainedConfig | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        self.vision_config = vision_config_of(self.vision_config)
        if not isinstance(self.text_config, PreTrainedConfig):
            self.text_config = BlipTextConfig(**(self.text_config or {}))
        super().__post_init__(**kwargs)


class Captioner(PreTrainedModel):
    """An image encoder and a text decoder that cross-attends to its states."""

    config_class = CaptionerConfig
    base_model_prefix = "captioner"
    main_input_name = "pixel_values"
    input_modalities = ("image",)

    def __init__(self, config: CaptionerConfig) -> None:
        super().__init__(config)
        self.vision = new_vision(cast(PreTrainedConfig, config.vision_config))
        self.text_decoder = BlipTextLMHeadModel(config.text_config)
        self.post_init()

    @torch.inference_mode()
    def generate(self, pixel_values: Tensor, **options: Any) -> Tensor:
        """Returns tokens `[B, T]` of captions of pictures `[B, 3, H, W]`."""
        text = cast(Any, self.config.text_config)
        states = image_states(self.vision, pixel_values)
        start = torch.full((len(states), 1), text.bos_token_id, device=states.device)
        tokens: Tensor = self.text_decoder.generate(
            input_ids=start,
            eos_token_id=text.sep_token_id,
            pad_token_id=text.pad_token_id,
            encoder_hidden_states=states,
            encoder_attention_mask=states.new_ones(states.shape[:-1], dtype=torch.long),
            **options,
        )
        return tokens


def load_captioner(folder: Path) -> PreTrainedModel:
    """Returns a captioner in float32: this module's, or an image-text-to-text model of
    transformers.

    Raises WeightsError for incomplete or unfitting weights of this module's class.
    """
    stated = read_json(folder / "config.json")
    if not isinstance(stated, dict) or stated.get("model_type") != TYPE:
        from transformers import AutoModelForImageTextToText

        # Archives are read only as tensors (`weights_only`), which is transformers' default.
        with without_bars():
            other: PreTrainedModel = AutoModelForImageTextToText.from_pretrained(
                folder,
                dtype=torch.float32,
                use_safetensors=any(folder.glob("*.safetensors")),
                weights_only=True,
            )
        return other.eval()
    try:
        config = CaptionerConfig(**stated)
    except Exception as error:
        # transformers' classes raise any exception of the first calculation with a wrong value.
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{folder / 'config.json'}: {reason}; save or fetch the model again"
        ) from error
    return load_whole(Captioner, folder, config)


def image_processor(scaling: "ImageScaling") -> Any:
    """Returns BLIP's image processor with an image encoder's scaling."""
    from transformers import BlipImageProcessorPil

    return BlipImageProcessorPil(
        size={"height": scaling.size, "width": scaling.size},
        image_mean=list(scaling.mean),
        image_std=list(scaling.std),
    )
