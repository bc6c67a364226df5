"""PixVoxConfig: models of all sizes are configurations of the same code."""

import json
from typing import Any, ClassVar

from transformers import AutoConfig, BlipVisionConfig, PreTrainedConfig

from pixvox.digests import WeightsError
from pixvox.patternnames import fitted_name
from pixvox.patterns import Layout, layout
from pixvox.vision import (
    CLIP_MEAN,
    CLIP_STD,
    ImageScaling,
    input_size,
    state_shape,
    triple,
    vision_config_of,
)

QUERIES = 8
"""Learnt queries of the similarity head's pools; each gives a part of the vector."""


class PixVoxConfig(PreTrainedConfig):
    """The configuration of a PixVoxLM.

    `vision_config` is that of any image encoder that pixvox.vision supports; the default is BLIP's.
    `image_size` (px; None for the encoder's own), `image_mean` and `image_std` (of values from 0 to
    1) are those of the encoder's input.

    `codebook_size` is the number of units in each codebook; the model adds one id for "no unit": an
    empty slot in inputs, the end of speech in outputs. `codec` and `bandwidth` (kbps) name the
    EnCodec whose units were learnt, so that a checkpoint is never decoded by another one. `pattern`
    is a name or `{"delays": [0, 1, 2, 4]}`, and always stored as a name (see pixvox.patternnames).

    With a `null_image` the model has learnt states for "no image", which guidance needs. With
    `head_transform` it has the layer that BLIP's language-model head has before its product. With
    an `image_projection` image states are projected to the decoder's size and get learnt position
    embeddings, before the layers attend to them. With a `similarity_size` the model has a
    similarity head, which scores how well speech fits an image by vectors of that size
    (pixvox.similarity); 0 means none.

    `trained_on` names the datasets of its training, first to last, as far as known; it is not part
    of the weights' digest.
    """

    model_type = "pixvox"
    sub_configs: ClassVar = {"vision_config": AutoConfig}
    keys_to_ignore_at_inference: ClassVar = ["codebook_losses"]

    vision_config: dict[str, Any] | PreTrainedConfig | None = None
    image_size: int | None = None
    image_mean: list[float] | tuple[float, ...] = CLIP_MEAN
    image_std: list[float] | tuple[float, ...] = CLIP_STD
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    layer_norm_eps: float = 1e-12
    dropout: float = 0.0
    initializer_range: float = 0.02
    num_codebooks: int = 8
    codebook_size: int = 1024
    frame_rate: int = 75
    pattern: Any = "delay"
    codec: str = "facebook/encodec_24khz"
    codec_digest: str = ""
    bandwidth: float = 6.0
    null_image: bool = False
    head_transform: bool = False
    image_projection: bool = False
    similarity_size: int = 0
    trained_on: list[str] | tuple[str, ...] = ()

    def __post_init__(self, **kwargs: Any) -> None:
        self.vision_config = vision_config_of(self.vision_config)
        if self.image_size is None:
            self.image_size = input_size(self.vision_config)
        self.image_mean = triple(self.image_mean, "image_mean")
        self.image_std = triple(self.image_std, "image_std")
        # Raises WeightsError for an invalid scaling.
        _ = self.scaling
        try:
            self.pattern = fitted_name(self.pattern, self.num_codebooks)
        except ValueError as error:
            raise WeightsError(str(error)) from error
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of "
                f"num_attention_heads {self.num_attention_heads}"
            )
        size = self.similarity_size
        if not 0 <= size <= 4096 or size % QUERIES or (size and not self.null_image):
            raise WeightsError(
                f"similarity_size {str(size)[:40]}: give a multiple of {QUERIES} from 0 to 4096, "
                "and a null_image, over which speech is encoded"
            )
        names = self.trained_on
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise WeightsError(f"trained_on {str(names)[:40]}: give a list of datasets' names")
        self.trained_on = tuple(names)
        super().__post_init__(**kwargs)

    def computed(self) -> str:
        """Returns what determines the model's outputs, as JSON: all but `trained_on`."""
        stated = json.loads(self.to_json_string())
        del stated["trained_on"]
        return json.dumps(stated, indent=2, sort_keys=True) + "\n"

    @property
    def empty(self) -> int:
        """The id after the units: an empty slot in inputs, the end of speech in outputs."""
        return self.codebook_size

    @property
    def memory_size(self) -> int:
        """The width of the image states that the decoder's layers attend to."""
        return self.hidden_size if self.image_projection else self.image_state_size

    @property
    def scaling(self) -> ImageScaling:
        """The scaling of pictures for the image encoder."""
        assert self.image_size is not None
        return ImageScaling(
            self.image_size,
            triple(self.image_mean, "image_mean"),
            triple(self.image_std, "image_std"),
        )

    @property
    def vision_type(self) -> str:
        """The image encoder's `model_type` in transformers."""
        assert isinstance(self.vision_config, PreTrainedConfig)
        return self.vision_config.model_type

    @property
    def image_positions(self) -> int:
        """The number of states of an image."""
        return self._state_shape()[0]

    @property
    def image_state_size(self) -> int:
        """The width of an image's states."""
        return self._state_shape()[1]

    def _state_shape(self) -> tuple[int, int]:
        assert isinstance(self.vision_config, PreTrainedConfig)
        return state_shape(self.vision_config, self.image_size)

    def layout(self, frames: int) -> Layout:
        """Returns the pattern's layout for K codebooks and this many frames with the final one."""
        return layout(self.pattern, self.num_codebooks, frames)

    @classmethod
    def base(cls, **changes: Any) -> "PixVoxConfig":
        """Returns the paper's size: BLIP captioning-base, ViT-B/16 at 384 px, 12 layers of 768."""
        return cls(**({"vision_config": BlipVisionConfig(image_size=384)} | changes))

    @classmethod
    def tiny(cls, **changes: Any) -> "PixVoxConfig":
        """Returns the zoo's size: 128 px, 4 layers of 256, a 16 kHz codec of 4 codebooks."""
        vision = BlipVisionConfig(
            image_size=128,
            patch_size=16,
            hidden_size=128,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=4,
            # transformers' default, 1e-10, is meant for weights that are loaded afterwards.
            initializer_range=0.02,
        )
        sizes = {
            "vision_config": vision,
            "hidden_size": 256,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "intermediate_size": 1024,
            "num_codebooks": 4,
            "codebook_size": 256,
            "frame_rate": 50,
            "codec": "zoo:encodec-tiny",
            "bandwidth": 1.6,
        }
        return cls(**(sizes | changes))
