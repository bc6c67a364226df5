"""PixVoxLM's network: an image encoder, a causal decoder over EnCodec units, no text between.

After Tran & Sakti, "From Pixels to Voice": K embeddings in, K heads out, cross entropy over all
K codebooks and N frames.
"""

from dataclasses import dataclass
from typing import ClassVar, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

from pixvox.configuration import PixVoxConfig
from pixvox.layers import DecoderLayer, HeadTransform, ImageProjection, KeyValues, UnitEmbeddings
from pixvox.patterns import frame_tables
from pixvox.similarity import SimilarityHead
from pixvox.vision import image_states, new_vision

IGNORED = -100
"""The target of a position without a loss (PyTorch's own default)."""

Memory = list[tuple[Tensor, Tensor]]
"""Cross-attention keys and values `[B, H, P, D]` of each layer, computed once per image."""


@dataclass
class PixVoxOutput(ModelOutput):
    """`loss` is a scalar, the mean of `codebook_losses` `[K]`; `logits` is `[B, S, K, C + 1]`.

    It is a transformers ModelOutput, whose first entry is the loss, never None despite its type.
    """

    loss: Tensor = None  # type: ignore[assignment]
    codebook_losses: Tensor = None  # type: ignore[assignment]
    logits: Tensor = None  # type: ignore[assignment]


class PixVoxNetwork(PreTrainedModel):
    """The network of PixVoxLM: its loss, and its logits step by step.

    The id after the `codebook_size` units means "no unit": in inputs a slot that the pattern has
    not reached, in outputs the end of speech.
    """

    config_class = PixVoxConfig
    base_model_prefix = "pixvox"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules: ClassVar = ["DecoderLayer"]

    def __init__(self, config: PixVoxConfig) -> None:
        super().__init__(config)
        self.vision = new_vision(cast(PreTrainedConfig, config.vision_config))
        self.embeddings = UnitEmbeddings(config)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.heads = nn.ModuleList(
            nn.Linear(config.hidden_size, config.codebook_size + 1)
            for _ in range(config.num_codebooks)
        )
        self.projection = ImageProjection(config) if config.image_projection else None
        self.transform = HeadTransform(config) if config.head_transform else None
        self.null_image: nn.Parameter | None = None
        if config.null_image:
            shape = (config.image_positions, config.image_state_size)
            self.null_image = nn.Parameter(torch.zeros(shape))
        self.similarity_head = SimilarityHead(config) if config.similarity_size else None
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if module is self.vision or module in set(self.vision.modules()):
            self.vision._init_weights(module)
        elif isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def train(self, mode: bool = True) -> Self:
        """Sets training mode, but an image encoder's batch normalisation stays as it was
        pretrained.

        With a batch's statistics, a step would depend on how the batch is divided.
        """
        super().train(mode)
        for module in self.vision.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def get_input_embeddings(self) -> nn.Module:
        """Returns the decoder's input layer: the sum of an embedding for each codebook."""
        return self.embeddings

    def encode_images(self, pixel_values: Tensor) -> Tensor:
        """Returns image states `[B, P, M_vision]` of normalised images `[B, 3, H, W]`."""
        return image_states(self.vision, pixel_values)

    def null_states(self) -> Tensor:
        """Returns states `[P, M_vision]` of "no image"; raises ValueError if there are none."""
        if self.null_image is None:
            raise ValueError(
                "this model has no null image, which guidance needs: train it with image_dropout"
            )
        return self.null_image

    def remember(self, image_states: Tensor) -> Memory:
        """Returns every layer's cross-attention memory of image states `[B, P, M_vision]`."""
        layers = (cast(DecoderLayer, layer) for layer in self.layers)
        states = self.projected(image_states)
        return [layer.crossattention.project(states) for layer in layers]

    def projected(self, image_states: Tensor) -> Tensor:
        """Returns image states `[..., P, M_vision]` as the layers attend to them, `[..., P, M]`."""
        return image_states if self.projection is None else self.projection(image_states)

    def step(
        self, units: Tensor, memory: Memory, cache: list[KeyValues] | None, start: int = 0
    ) -> Tensor:
        """Returns logits `[B, T, K, C + 1]` of the step after each of units `[B, K, T]`.

        Raises ValueError if `start + T` exceeds the model's positions, or if T is more than 1 with
        a cache: all steps of a call attend to the whole cache.
        """
        if cache is not None and units.shape[-1] != 1:
            raise ValueError(f"{units.shape[-1]} steps at once with a cache; give them one by one")
        x = self._decoded(units, memory, cache, start)
        if self.transform is not None:
            x = self.transform(x)
        return torch.stack([head(x) for head in self.heads], dim=2)

    def _decoded(
        self, units: Tensor, memory: Memory, cache: list[KeyValues] | None, start: int
    ) -> Tensor:
        limit = self.config.max_position_embeddings
        if start + units.shape[-1] > limit:
            raise ValueError(
                f"{start + units.shape[-1]} steps exceed the model's {limit} positions"
            )
        x: Tensor = self.embeddings(units, start)
        for index, layer in enumerate(self.layers):
            x = layer(x, memory[index], cache[index] if cache is not None else None)
        return x

    def encode_speech(self, units: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encodes speech `[B, K, N]` of `lengths` `[B]` frames with the decoder, without a picture.

        Returns the last layer's states `[B, S, M]`, and which steps belong to the speech, `[B, S]`.
        Raises ValueError for a model without a null image, and for speech with more steps than the
        model has positions.
        """
        sequence, targets = self.sequences(units, lengths)
        memory = [
            (keys.expand(len(units), -1, -1, -1), values.expand(len(units), -1, -1, -1))
            for keys, values in self.remember(self.null_states()[None])
        ]
        states = self._decoded(sequence, memory, None, 0)
        return states, (targets != IGNORED).any(1)

    def similarity(self, units: Tensor, lengths: Tensor, image_states: Tensor) -> Tensor:
        """Returns how well each speech fits its image, `[B]` from -1 to 1, learnt without text.

        `units` are `[B, K, N]` of `lengths` `[B]` frames; `image_states` `[B, P, M_vision]`, or
        `[1, P, M_vision]` for all; both on any device. Raises ValueError if the model has no
        similarity head, and as `encode_speech`.
        """
        if self.similarity_head is None:
            raise ValueError("this model cannot compare; train it with a job of kind similarity")
        encoded = self.encode_speech(units.to(self.device), lengths.to(self.device))
        speech = self.similarity_head.speech(*encoded)
        images = self.similarity_head.image(image_states.to(self.device, self.dtype))
        compared: Tensor = (speech * images).sum(-1)
        return compared

    def new_cache(self, batch: int, steps: int) -> list[KeyValues]:
        """Returns an empty cache for `steps` steps of `batch` sequences in every layer."""
        like = next(self.heads.parameters())
        return [KeyValues.empty(batch, steps, self.config, like) for _ in self.layers]

    def forward(
        self,
        units: Tensor,
        lengths: Tensor,
        pixel_values: Tensor | None = None,
        image_states: Tensor | None = None,
        *,
        unit_dropout: float = 0.0,
    ) -> PixVoxOutput:
        """Returns the training loss of spoken captions.

        `units` are `[B, K, N]` with any padding after `lengths` `[B]` frames; give the images
        either as `pixel_values` `[B, 3, H, W]` or as `image_states` `[B, P, M_vision]`. The frame
        after the last one is "no unit" in all codebooks: the end of speech. With `unit_dropout`,
        this share of the input steps is replaced by "no unit" in all codebooks; targets do not
        change (word dropout: Bowman et al. 2016, "Generating Sentences from a Continuous Space",
        section 3.1). Raises ValueError without images, and for speech with more steps than the
        model has positions.
        """
        if image_states is None:
            if pixel_values is None:
                raise ValueError("give pixel_values or image_states")
            image_states = self.encode_images(pixel_values)
        sequence, targets = self.sequences(units, lengths)
        if unit_dropout:
            steps = torch.rand(len(sequence), 1, sequence.shape[-1], device=sequence.device)
            sequence = sequence.masked_fill(steps < unit_dropout, self.config.empty)
        logits = self.step(sequence, self.remember(image_states), None)
        losses = torch.stack(
            [
                F.cross_entropy(logits[:, :, q].flatten(0, 1).float(), targets[:, q].flatten())
                for q in range(self.config.num_codebooks)
            ]
        )
        return PixVoxOutput(loss=losses.mean(), codebook_losses=losses, logits=logits)

    def sequences(self, units: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Returns decoder inputs and targets, `[B, K, S]` each, for units `[B, K, N]`.

        Each row is laid out for its own length, so no step depends on the padding.
        """
        empty, codebooks = self.config.empty, self.config.num_codebooks
        frames = torch.arange(units.shape[-1] + 1, device=units.device)
        ended = (frames >= lengths[:, None])[:, None]
        units = torch.where(ended, empty, F.pad(units, (0, 1), value=empty))
        table = frame_tables(self.config.pattern, codebooks, (lengths + 1).tolist())
        table = table.to(units.device)
        steps = units.gather(-1, table.clamp_min(0))
        targets = steps.masked_fill(table < 0, IGNORED)
        return F.pad(steps.masked_fill(table < 0, empty), (1, -1), value=empty), targets
