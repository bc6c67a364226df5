"""PixVoxLM one step at a time: fused weights, static caches, rows at positions of their own.

The same weights as `PixVoxLM.step`, arranged for decoding: one product for queries, keys and
values, one for all heads, and buffers that never move, so that a GPU can replay a step as a graph.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from pixvox.decoding.attention import append_and_attend, attend
from pixvox.decoding.linear import Normalised, Ready, Residual
from pixvox.layers import DecoderLayer
from pixvox.network import PixVoxNetwork


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer's weights and caches: keys and values `[B, H, S, D]`, the image's `[I, H, P, D]`;
    where attention is ragged, keys are `[B, H, D, S]` and `[I, H, D, P]`."""

    qkv: Ready
    attention_output: Residual
    query: Ready
    cross_output: Residual
    intermediate: Ready
    output: Residual
    keys: Tensor
    values: Tensor
    image_keys: Tensor
    image_values: Tensor


@dataclass(frozen=True)
class Shape:
    """What a Stepper is made for; `steps` are the most positions that a row takes."""

    slots: int
    lanes: int
    steps: int
    dtype: torch.dtype
    dense: bool
    guided: bool


class Stepper:
    """Steps `slots` rows at once; an image's memory serves `lanes` neighbouring rows.

    A `guided` one steps each row twice, over its image and over the model's null image, with the
    same weights read once; it raises ValueError for a model that has no null image.

    On CPU attention is ragged: each row reads only the positions that it has. Elsewhere (`dense`)
    all rows read the same window, masked, which is what a graph of fixed shapes can do.
    """

    def __init__(self, model: PixVoxNetwork, shape: Shape) -> None:
        config, slots, steps = model.config, shape.slots, shape.steps
        self.device, self.dtype, self.dense = model.device, shape.dtype, shape.dense
        self.slots, self.lanes, self.steps = slots, shape.lanes, steps
        self.guided, self.rows = shape.guided, 2 * slots if shape.guided else slots
        self.codebooks, self.hidden = config.num_codebooks, config.hidden_size
        self.heads = config.num_attention_heads
        self.head_size = self.hidden // self.heads
        own = (self.rows, self.heads, steps, self.head_size)
        entries = slots // self.lanes + self.guided
        shared = (entries, self.heads, config.image_positions, self.head_size)
        layers = [cast(DecoderLayer, layer) for layer in model.layers]
        self.layers = [
            Layer(
                qkv=self._ready(layer.attention.query, layer.attention.key, layer.attention.value),
                attention_output=self._residual(layer.attention.output, layer.attention.norm),
                query=self._ready(layer.crossattention.query),
                cross_output=self._residual(layer.crossattention.output, layer.crossattention.norm),
                intermediate=self._ready(layer.intermediate, gelu=True),
                output=self._residual(layer.output, layer.norm),
                keys=self._keys(*own),
                values=self._zeros(*own),
                image_keys=self._keys(*shared),
                image_values=self._zeros(*shared),
            )
            for layer in layers
        ]
        # Keys and values of every layer's cross-attention, in one product over an image.
        both = [part for x in layers for part in (x.crossattention.key, x.crossattention.value)]
        self.memory = Ready(both, config.image_positions, self.dtype)
        self.project = model.projected
        self.transform: tuple[Ready, Normalised] | None = None
        if model.transform is not None:
            dense = self._ready(model.transform.dense, gelu=True)
            self.transform = dense, Normalised(model.transform.norm, self.dtype)
        # In float32, whatever the layers compute in: rounded scores have ties.
        self.head = Ready([*model.heads], self.rows, torch.float32)
        tables = [cast(Tensor, table.weight) for table in model.embeddings.codebooks]
        self.embeddings = torch.cat(tables).detach().to(self.dtype)
        self.positions = model.embeddings.positions.weight.detach().to(self.dtype)
        self.embedding_norm = Normalised(model.embeddings.norm, self.dtype)
        self.offsets = torch.arange(self.codebooks, device=self.device) * len(tables[0])
        # The memory that each row reads, the null image's after all others.
        self.null_entry = slots // self.lanes
        self.owner = torch.arange(self.rows, device=self.device) // self.lanes
        self.owner[slots:] = self.null_entry
        if self.guided:
            self.remember(self.null_entry, model.null_states())
        self.attended = self._zeros(self.rows, self.heads, self.head_size)
        self.image_used = torch.full_like(self.owner, config.image_positions)

    def _ready(self, *linears: nn.Module, gelu: bool = False) -> Ready:
        return Ready(linears, self.rows, self.dtype, gelu)

    def _residual(self, linear: nn.Linear, norm: nn.LayerNorm) -> Residual:
        return Residual(self._ready(linear), Normalised(norm, self.dtype))

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=self.dtype, device=self.device)

    def _keys(self, rows: int, heads: int, length: int, size: int) -> Tensor:
        return self._zeros(rows, heads, *((length, size) if self.dense else (size, length)))

    @torch.inference_mode()
    def remember(self, entry: int, image_states: Tensor) -> None:
        """Gives memory `entry` the image `[P, M_vision]`."""
        states = self.project(image_states.to(self.device)).to(self.dtype)
        memory = self.memory(states).unflatten(-1, (-1, 2, self.heads, self.head_size))
        for part, (keys, values) in zip(self.layers, memory.permute(1, 2, 3, 0, 4), strict=True):
            part.image_keys[entry] = keys if self.dense else keys.mT
            part.image_values[entry] = values

    def read(self, slot: int, entry: int) -> None:
        """Has a slot read memory `entry`; dense attention reads that of the slot's group alone."""
        if not self.dense:
            self.owner[slot] = entry

    def forget(self, slot: int) -> None:
        """Empties a slot whose keys and values may not be finite.

        Dense attention multiplies what it masks by 0, and 0 times what is no number is none: it
        would break whatever the slot is given next.
        """
        for part in self.layers:
            for rows in (part.keys, part.values):
                rows[slot :: self.slots] = 0

    def logits(self, units: Tensor, position: Tensor, window: int) -> Tensor:
        """Units `[B, K]` at each row's `position` `[B]` → logits `[B, K, C + 1]`, float32.

        `window` bounds the positions in use (dense attention only reads so far). A guided stepper
        returns `[2 B, K, C + 1]`, those of the null image last.
        """
        if self.guided:
            units, position = units.repeat(2, 1), position.repeat(2)
        x = F.embedding(units + self.offsets, self.embeddings).sum(1)
        x = self.embedding_norm(x + F.embedding(position, self.positions))
        if self.dense:
            rows = torch.arange(self.rows, device=self.device)
            places = torch.arange(window, device=self.device)
            mask = (places <= position[:, None])[:, None, None]
        for part in self.layers:
            qkv = part.qkv(x).view(self.rows, 3, self.heads, self.head_size)
            if self.dense:
                part.keys[rows, :, position] = qkv[:, 1]
                part.values[rows, :, position] = qkv[:, 2]
                attended = attend_dense(
                    qkv[:, 0, :, None], part.keys[:, :, :window], part.values[:, :, :window], mask
                ).flatten(1)
            else:
                append_and_attend(
                    qkv.numpy(),
                    part.keys.numpy(),
                    part.values.numpy(),
                    position.numpy(),
                    self.attended.numpy(),
                )
                attended = self.attended.flatten(1)
            x = part.attention_output(x, attended)
            queries = part.query(x).view(self.rows, self.heads, self.head_size)
            if self.dense:
                attended = self._dense_cross(part, queries)
            else:
                self.ragged_cross(part, queries, self.owner)
            x = part.cross_output(x, attended)
            x = part.output(x, part.intermediate(x))
        if self.transform is not None:
            dense, norm = self.transform
            x = norm(dense(x))
        return self.head(x.float()).view(self.rows, self.codebooks, -1)

    def _dense_cross(self, part: Layer, queries: Tensor) -> Tensor:
        """`[B, H, D]` → `[B, H * D]`; a memory is read once for all rows that share it."""
        entries = self.slots // self.lanes
        keys, values = part.image_keys, part.image_values
        attended = _shared(queries[: self.slots], self.lanes, keys[:entries], values[:entries])
        if self.guided:
            null = _shared(queries[self.slots :], self.slots, keys[entries:], values[entries:])
            attended = torch.cat([attended, null])
        return attended

    def ragged_cross(self, part: Layer, queries: Tensor, owner: Tensor) -> None:
        """`[B, H, D]` over memories `owner` `[B]`, into `attended`."""
        attend(
            queries.numpy(),
            part.image_keys.numpy(),
            part.image_values.numpy(),
            owner.numpy(),
            self.image_used.numpy(),
            self.attended.numpy(),
        )


def _shared(queries: Tensor, lanes: int, keys: Tensor, values: Tensor) -> Tensor:
    """`[B, H, D]`, of which `lanes` neighbours share one of the memories → `[B, H * D]`."""
    grouped = queries.unflatten(0, (-1, lanes)).transpose(1, 2)
    attended = attend_dense(grouped, keys, values)
    return attended.transpose(1, 2).flatten(0, 1).flatten(1)


def attend_dense(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
) -> Tensor:
    """PyTorch's attention by a backend that is named here.

    Left to itself, PyTorch chooses by type and shape, so that a row would round otherwise where
    another row's length changes the window. On a GPU only the memory-efficient one takes masks in
    float32; elsewhere it is the plain one.
    """
    on_gpu = queries.device.type == "cuda"
    backend = SDPBackend.EFFICIENT_ATTENTION if on_gpu else SDPBackend.MATH
    with sdpa_kernel(backend):
        return F.scaled_dot_product_attention(queries, keys, values, mask, is_causal=causal)
