"""PixVoxLM one step at a time: fused weights, static caches, rows at positions of their own.

The same weights as `PixVoxLM.step`, arranged for decoding: one product for queries, keys and
values, one for all heads, and buffers that never move, so that a GPU can replay a step as a graph.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from pixvox.decoding.attention import append_and_attend, attend
from pixvox.decoding.linear import Ready
from pixvox.layers import DecoderLayer
from pixvox.network import PixVoxNetwork


@dataclass(frozen=True)
class _Layer:
    """One layer's weights and caches: keys and values `[B, H, S, D]`, the image's `[I, H, P, D]`;
    where attention is ragged, keys are `[B, H, D, S]` and `[I, H, D, P]`."""

    layer: DecoderLayer
    qkv: Ready
    attention_output: Ready
    query: Ready
    cross_output: Ready
    intermediate: Ready
    output: Ready
    keys: Tensor
    values: Tensor
    image_keys: Tensor
    image_values: Tensor


class Stepper:
    """Steps `slots` rows at once; an image's memory serves `lanes` neighbouring rows.

    On CPU attention is ragged: each row reads only the positions that it has. Elsewhere (`dense`)
    all rows read the same window, masked, which is what a graph of fixed shapes can do.
    """

    def __init__(
        self,
        model: PixVoxNetwork,
        slots: int,
        lanes: int,
        steps: int,
        dtype: torch.dtype = torch.float32,
        dense: bool | None = None,
    ) -> None:
        config = model.config
        self.device = model.device
        self.dense = self.device.type != "cpu" if dense is None else dense
        self.dtype = dtype
        self.slots, self.lanes, self.steps = slots, lanes, steps
        self.codebooks, self.hidden = config.num_codebooks, config.hidden_size
        self.heads = config.num_attention_heads
        self.head_size = self.hidden // self.heads
        vision = config.vision_config
        patches = (vision.image_size // vision.patch_size) ** 2 + 1
        self.model = model if self.dtype == model.dtype else _copy(model, self.dtype)
        own = (slots, self.heads, steps, self.head_size)
        shared = (slots // lanes, self.heads, patches, self.head_size)
        self.layers = [
            _Layer(
                layer,
                Ready([layer.attention.query, layer.attention.key, layer.attention.value], slots),
                Ready([layer.attention.output], slots),
                Ready([layer.crossattention.query], slots),
                Ready([layer.crossattention.output], slots),
                Ready([layer.intermediate], slots, gelu=True),
                Ready([layer.output], slots),
                self._keys(*own),
                self._zeros(*own),
                self._keys(*shared),
                self._zeros(*shared),
            )
            for layer in (cast(DecoderLayer, layer) for layer in self.model.layers)
        ]
        self.head = Ready(list(self.model.heads), slots)
        tables = [cast(Tensor, table.weight) for table in self.model.embeddings.codebooks]
        self.embeddings = torch.cat(tables).detach()
        self.offsets = torch.arange(self.codebooks, device=self.device) * len(tables[0])
        self.owner = torch.arange(slots, device=self.device) // lanes
        self.attended = self._zeros(slots, self.heads, self.head_size)

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=self.dtype, device=self.device)

    def _keys(self, rows: int, heads: int, length: int, size: int) -> Tensor:
        return self._zeros(rows, heads, *((length, size) if self.dense else (size, length)))

    @torch.inference_mode()
    def remember(self, entry: int, image_states: Tensor) -> None:
        """Gives memory `entry` (slots `entry * lanes` and after) the image `[P, M_vision]`."""
        states = image_states[None].to(self.device, self.dtype)
        for part, (keys, values) in zip(self.layers, self.model.remember(states), strict=True):
            part.image_keys[entry] = keys[0] if self.dense else keys[0].mT
            part.image_values[entry] = values[0]

    def logits(self, units: Tensor, position: Tensor, window: int) -> Tensor:
        """Units `[B, K]` at each row's `position` `[B]` → logits `[B, K, C + 1]`, float32.

        `window` bounds the positions in use (dense attention only reads so far).
        """
        embedding = self.model.embeddings
        x = self.embeddings[units + self.offsets].sum(1) + embedding.positions.weight[position]
        x = embedding.norm(x)
        if self.dense:
            rows = torch.arange(self.slots, device=self.device)
            places = torch.arange(window, device=self.device)
            mask = (places <= position[:, None])[:, None, None]
        for part in self.layers:
            layer = part.layer
            qkv = part.qkv(x).view(self.slots, 3, self.heads, self.head_size)
            if self.dense:
                part.keys[rows, :, position] = qkv[:, 1]
                part.values[rows, :, position] = qkv[:, 2]
                attended = F.scaled_dot_product_attention(
                    qkv[:, 0, :, None],
                    part.keys[:, :, :window],
                    part.values[:, :, :window],
                    attn_mask=mask,
                ).flatten(1)
            else:
                self._ragged_self(part, qkv, position)
                attended = self.attended.flatten(1)
            x = layer.attention.norm(x + part.attention_output(attended))
            queries = part.query(x).view(self.slots, self.heads, self.head_size)
            if self.dense:
                attended = self._dense_cross(part, queries)
            else:
                self._ragged_cross(part, queries)
            x = layer.crossattention.norm(x + part.cross_output(attended))
            x = layer.norm(x + part.output(part.intermediate(x)))
        return self.head(x).float().view(self.slots, self.codebooks, -1)

    def _dense_cross(self, part: _Layer, queries: Tensor) -> Tensor:
        """`[B, H, D]` → `[B, H * D]`; a memory is read once for all rows that share it."""
        grouped = queries.unflatten(0, (-1, self.lanes)).transpose(1, 2)
        attended = F.scaled_dot_product_attention(grouped, part.image_keys, part.image_values)
        return attended.transpose(1, 2).flatten(0, 1).flatten(1)

    def _ragged_self(self, part: _Layer, qkv: Tensor, position: Tensor) -> None:
        append_and_attend(
            qkv.numpy(),
            part.keys.numpy(),
            part.values.numpy(),
            position.numpy(),
            self.attended.numpy(),
        )

    def _ragged_cross(self, part: _Layer, queries: Tensor) -> None:
        attend(
            queries.numpy(),
            part.image_keys.numpy(),
            part.image_values.numpy(),
            self.owner.numpy(),
            self.attended.numpy(),
        )


def _copy(model: PixVoxNetwork, dtype: torch.dtype) -> PixVoxNetwork:
    other = PixVoxNetwork(model.config).to(model.device)
    other.load_state_dict(model.state_dict())
    return other.to(dtype).eval()
