"""The decoder's layers: BLIP's text decoder (post-norm BERT with cross-attention), cached.

They are written here because transformers' BlipTextModel has no static cache, no SDPA, and cannot
share cross-attention keys between the requests of one image.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from pixvox.configuration import PixVoxConfig


@dataclass
class KeyValues:
    """Keys and values of one attention, `[B, H, T, D]` each; `used` positions are filled."""

    keys: Tensor
    values: Tensor
    used: int = 0

    @classmethod
    def empty(cls, batch: int, length: int, config: PixVoxConfig, like: Tensor) -> "KeyValues":
        """Returns room for `length` positions of `batch` rows, with `like`'s type and device."""
        heads = config.num_attention_heads
        shape = (batch, heads, length, config.hidden_size // heads)
        return cls(like.new_zeros(shape), like.new_zeros(shape))

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Appends keys and values; returns all that are used, `[B, H, used, D]`."""
        end = self.used + keys.shape[2]
        self.keys[:, :, self.used : end] = keys
        self.values[:, :, self.used : end] = values
        self.used = end
        return self.keys[:, :, :end], self.values[:, :, :end]


def plain_attention(queries: Tensor, keys: Tensor, values: Tensor, *, causal: bool) -> Tensor:
    """Returns attention of `[B, H, T, D]` over keys and values `[B, H, S, D]`; `causal` needs T ==
    S.

    For training on a CPU: backwards, PyTorch's fused attention is slower there than matrix
    products, and its own plain one spends 15% of a training step on rows that are fully masked,
    which a causal mask never has.
    """
    scores = torch.matmul(queries * queries.shape[-1] ** -0.5, keys.mT)
    if causal:
        steps = scores.shape[-1]
        scores = scores + scores.new_full((steps, steps), -torch.inf).triu(1)
    return torch.matmul(scores.softmax(-1).to(values.dtype), values)


class Attention(nn.Module):
    """Multi-head attention with BERT's residual output: `LayerNorm(x + out(attend(x)))`."""

    def __init__(self, config: PixVoxConfig, memory_size: int | None = None) -> None:
        super().__init__()
        size = config.hidden_size
        self.heads = config.num_attention_heads
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(memory_size or size, size)
        self.value = nn.Linear(memory_size or size, size)
        self.output = nn.Linear(size, size)
        self.norm = nn.LayerNorm(size, eps=config.layer_norm_eps)
        self.dropout = config.dropout

    def split(self, x: Tensor) -> Tensor:
        """Returns `[B, H, T, D]` for `[B, T, H * D]`."""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def project(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Returns keys and values `[B, H, T, D]` of a memory `[B, T, M]`."""
        return self.split(self.key(memory)), self.split(self.value(memory))

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, causal: bool) -> Tensor:
        """Returns attention of `x` `[B, T, M]` over `[B, H, S, D]`; `causal` needs T == S."""
        queries = self.split(self.query(x))
        if self.training and x.device.type == "cpu":
            attended = plain_attention(queries, keys, values, causal=causal)
        else:
            attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=causal)
        update = self.output(attended.transpose(1, 2).flatten(2))
        return self.norm(x + F.dropout(update, self.dropout, self.training))


class DecoderLayer(GradientCheckpointingLayer):
    """Self-attention, cross-attention to the image, feed-forward."""

    def __init__(self, config: PixVoxConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.crossattention = Attention(config, config.memory_size)
        self.intermediate = nn.Linear(config.hidden_size, config.intermediate_size)
        self.output = nn.Linear(config.intermediate_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = config.dropout

    def forward(self, x: Tensor, image: tuple[Tensor, Tensor], cache: KeyValues | None) -> Tensor:
        """Returns the layer's output `[B, T, M]`.

        Without a cache the whole sequence is attended causally. With one, `x` is one further step
        (T = 1) and attends to everything in the cache.
        """
        keys, values = self.attention.project(x)
        if cache is not None:
            keys, values = cache.append(keys, values)
        x = self.attention(x, keys, values, causal=cache is None)
        x = self.crossattention(x, *image, causal=False)
        update = self.output(F.gelu(self.intermediate(x)))
        return self.norm(x + F.dropout(update, self.dropout, self.training))


class UnitEmbeddings(nn.Module):
    """The sum of one embedding per codebook and a learned position, normalised as in BERT."""

    def __init__(self, config: PixVoxConfig) -> None:
        super().__init__()
        vocabulary = config.codebook_size + 1
        self.codebooks = nn.ModuleList(
            nn.Embedding(vocabulary, config.hidden_size) for _ in range(config.num_codebooks)
        )
        self.positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = config.dropout

    def forward(self, units: Tensor, start: int) -> Tensor:
        """Returns the embeddings `[B, T, M]` of units `[B, K, T]` at positions from `start`."""
        index = torch.arange(start, start + units.shape[-1], device=units.device)
        summed = self.positions(index)[None].expand(units.shape[0], -1, -1)
        for embedding, codes in zip(self.codebooks, units.unbind(1), strict=True):
            summed = summed + embedding(codes)
        return F.dropout(self.norm(summed), self.dropout, self.training)


class ImageProjection(nn.Module):
    """Image states projected to the decoder's size: `LayerNorm(dense(x) + position)`.

    For encoders whose states are wide or do not encode positions, such as the feature maps of
    convolutional networks.
    """

    def __init__(self, config: PixVoxConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.image_state_size, config.hidden_size)
        self.positions = nn.Embedding(config.image_positions, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, states: Tensor) -> Tensor:
        """Returns `[..., P, M]` for `[..., P, M_vision]`."""
        projected: Tensor = self.norm(self.dense(states) + self.positions.weight)
        return projected


class HeadTransform(nn.Module):
    """The layer before BLIP's language-model head: `LayerNorm(gelu(dense(x)))`."""

    def __init__(self, config: PixVoxConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """Returns `[..., M]` for `[..., M]`."""
        transformed: Tensor = self.norm(F.gelu(self.dense(x)))
        return transformed
