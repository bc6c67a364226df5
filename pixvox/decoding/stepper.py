"""PixVoxLM one step at a time: fused weights, static caches, rows at different positions.

It has the weights of `PixVoxLM.step`, arranged for decoding: one product for queries, keys and
values, one for all heads, and buffers at fixed addresses, so that a GPU can replay a step as a
graph.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixvox.decoding.kernels import ATTENTIONS, AttentionKind, KeyValuePair, Sizes
from pixvox.decoding.linear import Normalised, Ready, Residual
from pixvox.layers import DecoderLayer
from pixvox.network import PixVoxNetwork


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer's weights, its cache of rows' keys and values, and its memories of images."""

    qkv: Ready
    attention_output: Residual
    query: Ready
    cross_output: Residual
    intermediate: Ready
    output: Residual
    cache: KeyValuePair
    memory: KeyValuePair


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The shape of a Stepper; `steps` is the most positions of a row."""

    slots: int
    lanes: int
    steps: int
    dtype: torch.dtype
    attention: AttentionKind
    guided: bool


class Stepper:
    """Steps `slots` rows at once; an image's memory serves `lanes` neighbouring rows.

    With `guided`, each row is computed twice, over its image and over the model's null image,
    reading the weights once; raises ValueError for a model without a null image. The shape's
    `attention` decides how it attends and the layout of keys and values (see
    pixvox.decoding.kernels).
    """

    def __init__(self, model: PixVoxNetwork, shape: Shape) -> None:
        config, slots, steps = model.config, shape.slots, shape.steps
        self.device, self.dtype = model.device, shape.dtype
        self.slots, self.steps = slots, steps
        self.codebooks, self.heads = config.num_codebooks, config.num_attention_heads
        self.head_size = config.hidden_size // self.heads
        self.sizes = Sizes(
            slots=slots,
            lanes=shape.lanes,
            guided=shape.guided,
            heads=self.heads,
            head_size=self.head_size,
            image_positions=config.image_positions,
            device=self.device,
            dtype=self.dtype,
        )
        self.rows = self.sizes.rows
        self.attention = ATTENTIONS[shape.attention](self.sizes)
        layers = [cast(DecoderLayer, layer) for layer in model.layers]
        self.layers = [
            Layer(
                qkv=self._ready(layer.attention.query, layer.attention.key, layer.attention.value),
                attention_output=self._residual(layer.attention.output, layer.attention.norm),
                query=self._ready(layer.crossattention.query),
                cross_output=self._residual(layer.crossattention.output, layer.crossattention.norm),
                intermediate=self._ready(layer.intermediate, gelu=True),
                output=self._residual(layer.output, layer.norm),
                cache=self.attention.new_cache(self.rows, steps),
                memory=self.attention.new_cache(self.sizes.entries, config.image_positions),
            )
            for layer in layers
        ]
        # Keys and values of every layer's cross-attention, in one product over an image.
        both = [part for x in layers for part in (x.crossattention.key, x.crossattention.value)]
        self.memory_projection = Ready(both, config.image_positions, self.dtype)
        self.project = model.projected
        self.transform: tuple[Ready, Normalised] | None = None
        if model.transform is not None:
            dense = self._ready(model.transform.dense, gelu=True)
            self.transform = dense, Normalised(model.transform.norm, self.dtype)
        # In float32, whatever the layers' type: rounded logits have ties.
        self.head = Ready([*model.heads], self.rows, torch.float32)
        tables = [cast(Tensor, table.weight) for table in model.embeddings.codebooks]
        self.embeddings = torch.cat(tables).detach().to(self.dtype)
        self.positions = model.embeddings.positions.weight.detach().to(self.dtype)
        self.embedding_norm = Normalised(model.embeddings.norm, self.dtype)
        self.offsets = torch.arange(self.codebooks, device=self.device) * len(tables[0])
        if shape.guided:
            self.remember(self.sizes.null_entry, model.null_states())

    def _ready(self, *linears: nn.Module, gelu: bool = False) -> Ready:
        return Ready(linears, self.rows, self.dtype, gelu)

    def _residual(self, linear: nn.Linear, norm: nn.LayerNorm) -> Residual:
        return Residual(self._ready(linear), Normalised(norm, self.dtype))

    @torch.inference_mode()
    def remember(self, entry: int, image_states: Tensor) -> None:
        """Stores the image `[P, M_vision]` in memory `entry`."""
        states = self.project(image_states.to(self.device)).to(self.dtype)
        memory = self.memory_projection(states).unflatten(-1, (-1, 2, self.heads, self.head_size))
        for part, (keys, values) in zip(self.layers, memory.permute(1, 2, 3, 0, 4), strict=True):
            self.attention.write_memory(part.memory, entry, keys, values)

    def forget(self, slot: int) -> None:
        """Clears a slot whose keys and values may not be finite.

        Dense attention multiplies masked values by 0, and 0 × NaN is NaN, which would damage the
        slot's next row.
        """
        for part in self.layers:
            for rows in (part.cache.keys, part.cache.values):
                rows[slot :: self.slots] = 0

    def logits(self, units: Tensor, position: Tensor, window: int) -> Tensor:
        """Returns logits `[B, K, C + 1]`, float32, for units `[B, K]` at each row's `position`
        `[B]`.

        `window` is above all positions in use; dense attention reads only up to it. A guided
        stepper returns `[2 B, K, C + 1]`, those of the null image last.
        """
        if self.sizes.guided:
            units, position = units.repeat(2, 1), position.repeat(2)
        x = F.embedding(units + self.offsets, self.embeddings).sum(1)
        x = self.embedding_norm(x + F.embedding(position, self.positions))
        self.attention.begin_step(position, window)
        for part in self.layers:
            qkv = part.qkv(x).view(self.rows, 3, self.heads, self.head_size)
            x = part.attention_output(x, self.attention.step(part.cache, qkv))
            queries = part.query(x).view(self.rows, self.heads, self.head_size)
            x = part.cross_output(x, self.attention.step_over_image(part.memory, queries))
            x = part.output(x, part.intermediate(x))
        if self.transform is not None:
            dense, norm = self.transform
            x = norm(dense(x))
        return self.head(x.float()).view(self.rows, self.codebooks, -1)

    def prefill(self, slot: int, entry: int, units: Tensor) -> None:
        """Writes the keys and values of a row's first T steps, whose inputs are units `[K, T]`.

        These steps need no logits, so all of them go through a layer together. `prefilled_steps`
        returns T, and the slot reads memory `entry`.
        """
        steps = units.shape[1]
        block = self.attention.prefill_block or steps
        for start in range(0, steps, block):
            self._prefill_block(slot, entry, units[:, start : start + block].T, start)

    def copy_row(self, source: int, slot: int) -> None:
        """Gives a slot the keys and values of another, for a row that begins in the same way."""
        for part in self.layers:
            for rows in (part.cache.keys, part.cache.values):
                rows[slot :: self.slots] = rows[source :: self.slots]

    def prefilled_steps(self, steps: int) -> int:
        """Returns how many of a prompt's first steps `prefill` computes; the step loop does the
        rest.

        Ragged attention processes whole blocks of as many steps as there are slots: the products of
        a block have the shape of a step's, so keys and values are bit for bit those of single
        steps.
        """
        return steps - steps % (self.attention.prefill_block or 1)

    def _prefill_block(self, slot: int, entry: int, units: Tensor, start: int) -> None:
        """Processes units `[T, K]` at positions from `start`; W is 2 for a guided row, else 1."""
        wide = len(self.sizes.entries_of(entry))
        x = F.embedding(units + self.offsets, self.embeddings).sum(1)
        x = self.embedding_norm(x + self.positions[start : start + len(units)]).repeat(wide, 1)
        for part in self.layers:
            qkv = part.qkv(x).view(wide, -1, 3, self.heads, self.head_size)
            x = part.attention_output(x, self.attention.prefix(part.cache, qkv, slot, start))
            if part is self.layers[-1]:
                # Later steps read only keys and values of the last layer.
                return
            queries = part.query(x).view(wide, -1, self.heads, self.head_size)
            attended = self.attention.prefix_over_image(part.memory, queries, entry)
            x = part.cross_output(x, attended)
            x = part.output(x, part.intermediate(x))
