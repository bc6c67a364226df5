"""Three kinds of attention while decoding, each with its layout of keys and values.

`RaggedAttention` is compiled for CPUs and reads only the positions that each row has.
`DenseAttention` reads the same window for all rows, masked, which works in a graph with fixed
shapes. `VarlenAttention` is PyTorch's kernel of variable length: it has fixed shapes, reads only
each row's own positions, and computes in 16 bits.

In shapes, B is the number of rows, H of heads, D a head's size, S positions, P an image's states, T
steps of one row, and W its rows of a cache: 2 with guidance (image and null image), else 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from pixvox.decoding.attention import append_and_attend, attend
from pixvox.decoding.varlen import attend_to_used, sequence_starts

AttentionKind = Literal["ragged", "dense", "varlen"]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The sizes that an attention is built for; `null_entry` is the null image's memory."""

    slots: int
    lanes: int
    guided: bool
    heads: int
    head_size: int
    image_positions: int
    device: torch.device
    dtype: torch.dtype

    @property
    def rows(self) -> int:
        """Rows of a step: with guidance, a slot has a second row over the null image."""
        return 2 * self.slots if self.guided else self.slots

    @property
    def null_entry(self) -> int:
        """The memory of the null image, after those of images."""
        return self.slots // self.lanes

    @property
    def entries(self) -> int:
        """The number of memories, including that of the null image."""
        return self.null_entry + self.guided

    def entries_of(self, entry: int) -> list[int]:
        """Returns the memories of a slot's rows, `[W]`."""
        return [entry, self.null_entry] if self.guided else [entry]


@dataclass(frozen=True)
class KeyValuePair:
    """Keys and values of one layer, in the layout of an attention."""

    keys: Tensor
    values: Tensor


class DecodingAttention(Protocol):
    """The attention of a stepper; its results are `[B, H * D]`."""

    shares_freely: bool
    """Whether any slot may read any memory; otherwise a slot reads the memory of its group."""
    prefill_block: int
    """The number of a prompt's steps that are computed together; 0 for all."""

    def new_cache(self, rows: int, positions: int) -> KeyValuePair:
        """Returns zeros for keys and values of `rows` rows or memories."""

    def read(self, slot: int, entry: int) -> None:
        """Makes a slot read memory `entry`."""

    def write_memory(self, memory: KeyValuePair, entry: int, keys: Tensor, values: Tensor) -> None:
        """Stores an image's keys and values `[H, P, D]`."""

    def begin_step(self, position: Tensor, window: int) -> None:
        """Prepares a step at each row's `position` `[B]`, all below `window`."""

    def step(self, cache: KeyValuePair, qkv: Tensor) -> Tensor:
        """Stores keys and values of `qkv` `[B, 3, H, D]`; returns attention over each row's own."""

    def step_over_image(self, memory: KeyValuePair, queries: Tensor) -> Tensor:
        """Returns the attention of queries `[B, H, D]` over the memory that each row reads."""

    def prefix(self, cache: KeyValuePair, qkv: Tensor, slot: int, start: int) -> Tensor:
        """Does the same for T steps of one slot from position `start`, `[W, T, 3, H, D]`."""

    def prefix_over_image(self, memory: KeyValuePair, queries: Tensor, entry: int) -> Tensor:
        """Does the same for queries `[W, T, H, D]` of a slot that reads memory `entry`."""


class RaggedAttention(DecodingAttention):
    """Compiled loops on a CPU: keys `[B, H, D, S]`, values `[B, H, S, D]`."""

    shares_freely = True

    def __init__(self, sizes: Sizes) -> None:
        self.sizes, self.prefill_block = sizes, sizes.slots
        self._owner = torch.arange(sizes.rows) // sizes.lanes
        self._owner[sizes.slots :] = sizes.null_entry
        self._position = torch.zeros(sizes.rows, dtype=torch.long)
        self._whole = torch.full((sizes.rows,), sizes.image_positions)
        self._out = torch.zeros(sizes.rows, sizes.heads, sizes.head_size)

    def new_cache(self, rows: int, positions: int) -> KeyValuePair:
        shape = (rows, self.sizes.heads)
        size = self.sizes.head_size
        return KeyValuePair(
            torch.zeros(*shape, size, positions), torch.zeros(*shape, positions, size)
        )

    def read(self, slot: int, entry: int) -> None:
        self._owner[slot] = entry

    def write_memory(self, memory: KeyValuePair, entry: int, keys: Tensor, values: Tensor) -> None:
        memory.keys[entry], memory.values[entry] = keys.mT, values

    def begin_step(self, position: Tensor, window: int) -> None:
        self._position = position

    def step(self, cache: KeyValuePair, qkv: Tensor) -> Tensor:
        append_and_attend(
            qkv.numpy(),
            cache.keys.numpy(),
            cache.values.numpy(),
            self._position.numpy(),
            self._out.numpy(),
        )
        return self._out.flatten(1)

    def step_over_image(self, memory: KeyValuePair, queries: Tensor) -> Tensor:
        return self._attend(memory, queries, self._owner, self._whole)

    def prefix(self, cache: KeyValuePair, qkv: Tensor, slot: int, start: int) -> Tensor:
        wide, steps = qkv.shape[:2]
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4)
        cache.keys[slot :: self.sizes.slots, :, :, start : start + steps] = keys.mT
        cache.values[slot :: self.sizes.slots, :, start : start + steps] = values
        rows = torch.arange(wide) * self.sizes.slots + slot
        used = torch.arange(start + 1, start + 1 + steps).repeat(wide)
        queries = queries.transpose(1, 2).flatten(0, 1).contiguous()
        return self._attend(cache, queries, rows.repeat_interleave(steps), used)

    def prefix_over_image(self, memory: KeyValuePair, queries: Tensor, entry: int) -> Tensor:
        owner = torch.tensor(self.sizes.entries_of(entry)).repeat_interleave(queries.shape[1])
        return self._attend(memory, queries.flatten(0, 1), owner, self._whole)

    def _attend(self, cache: KeyValuePair, queries: Tensor, owner: Tensor, used: Tensor) -> Tensor:
        attend(
            queries.numpy(),
            cache.keys.numpy(),
            cache.values.numpy(),
            owner.numpy(),
            used.numpy(),
            self._out.numpy(),
        )
        return self._out.flatten(1)


class DenseAttention(DecodingAttention):
    """PyTorch's attention over a masked window: keys and values `[B, H, S, D]`."""

    shares_freely = False
    prefill_block = 0

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self._rows = torch.arange(sizes.rows, device=sizes.device)
        self._position, self._window = self._rows, 0
        self._mask: Tensor | None = None

    def new_cache(self, rows: int, positions: int) -> KeyValuePair:
        shape = (rows, self.sizes.heads, positions, self.sizes.head_size)
        new = torch.zeros((2, *shape), dtype=self.sizes.dtype, device=self.sizes.device)
        return KeyValuePair(*new.unbind())

    def read(self, slot: int, entry: int) -> None:
        """Does nothing: a slot always reads the memory of its group."""

    def write_memory(self, memory: KeyValuePair, entry: int, keys: Tensor, values: Tensor) -> None:
        memory.keys[entry], memory.values[entry] = keys, values

    def begin_step(self, position: Tensor, window: int) -> None:
        self._position, self._window = position, window
        places = torch.arange(window, device=self.sizes.device)
        self._mask = (places <= position[:, None])[:, None, None]

    def step(self, cache: KeyValuePair, qkv: Tensor) -> Tensor:
        cache.keys[self._rows, :, self._position] = qkv[:, 1]
        cache.values[self._rows, :, self._position] = qkv[:, 2]
        keys, values = (part[:, :, : self._window] for part in (cache.keys, cache.values))
        return attend_dense(qkv[:, 0, :, None], keys, values, self._mask).flatten(1)

    def step_over_image(self, memory: KeyValuePair, queries: Tensor) -> Tensor:
        """Reads a memory once for all rows that share it."""
        slots, null = self.sizes.slots, self.sizes.null_entry
        attended = _shared(
            queries[:slots], self.sizes.lanes, memory.keys[:null], memory.values[:null]
        )
        if self.sizes.guided:
            over_null = _shared(queries[slots:], slots, memory.keys[null:], memory.values[null:])
            attended = torch.cat([attended, over_null])
        return attended

    def prefix(self, cache: KeyValuePair, qkv: Tensor, slot: int, start: int) -> Tensor:
        """Attends within the prompt; `start` has to be 0."""
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4)
        steps = qkv.shape[1]
        cache.keys[slot :: self.sizes.slots, :, start : start + steps] = keys
        cache.values[slot :: self.sizes.slots, :, start : start + steps] = values
        return _by_step(attend_dense(queries, keys, values, causal=True))

    def prefix_over_image(self, memory: KeyValuePair, queries: Tensor, entry: int) -> Tensor:
        return _over_memories(memory, queries, self.sizes.entries_of(entry))


class VarlenAttention(DecodingAttention):
    """PyTorch's attention of variable length: keys and values `[B, S, H, D]`.

    Positions after a row's own are not read, so one graph serves all windows, and a row is not
    rounded differently beside a longer one (`num_splits=1`, see pixvox.decoding.varlen).
    """

    shares_freely = False
    prefill_block = 0

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        device, memories = sizes.device, sizes.null_entry
        self._rows = torch.arange(sizes.rows, device=device)
        self._position, self._used = self._rows, self._rows
        self._each_row = sequence_starts([1] * sizes.rows, device)
        readers = [sizes.lanes] * memories + [sizes.slots] * sizes.guided
        self._readers, self._most_readers = sequence_starts(readers, device), max(readers)
        self._whole = torch.full(
            (sizes.entries,), sizes.image_positions, dtype=torch.int32, device=device
        )

    def new_cache(self, rows: int, positions: int) -> KeyValuePair:
        shape = (rows, positions, self.sizes.heads, self.sizes.head_size)
        new = torch.zeros((2, *shape), dtype=self.sizes.dtype, device=self.sizes.device)
        return KeyValuePair(*new.unbind())

    def read(self, slot: int, entry: int) -> None:
        """Does nothing: a slot always reads the memory of its group."""

    def write_memory(self, memory: KeyValuePair, entry: int, keys: Tensor, values: Tensor) -> None:
        memory.keys[entry], memory.values[entry] = keys.transpose(0, 1), values.transpose(0, 1)

    def begin_step(self, position: Tensor, window: int) -> None:
        self._position, self._used = position, (position + 1).int()

    def step(self, cache: KeyValuePair, qkv: Tensor) -> Tensor:
        cache.keys[self._rows, self._position] = qkv[:, 1]
        cache.values[self._rows, self._position] = qkv[:, 2]
        return attend_to_used(
            qkv[:, 0], cache.keys, cache.values, self._used, starts=self._each_row, most=1
        )

    def step_over_image(self, memory: KeyValuePair, queries: Tensor) -> Tensor:
        """Reads a memory once for all rows that share it."""
        return attend_to_used(
            queries,
            memory.keys,
            memory.values,
            self._whole,
            starts=self._readers,
            most=self._most_readers,
        )

    def prefix(self, cache: KeyValuePair, qkv: Tensor, slot: int, start: int) -> Tensor:
        """Attends within the prompt; `start` has to be 0."""
        steps = qkv.shape[1]
        cache.keys[slot :: self.sizes.slots, start : start + steps] = qkv[:, :, 1]
        cache.values[slot :: self.sizes.slots, start : start + steps] = qkv[:, :, 2]
        return _by_step(attend_dense(*qkv.permute(2, 0, 3, 1, 4), causal=True))

    def prefix_over_image(self, memory: KeyValuePair, queries: Tensor, entry: int) -> Tensor:
        views = KeyValuePair(memory.keys.transpose(1, 2), memory.values.transpose(1, 2))
        return _over_memories(views, queries, self.sizes.entries_of(entry))


ATTENTIONS: dict[AttentionKind, Callable[[Sizes], DecodingAttention]] = {
    "ragged": RaggedAttention,
    "dense": DenseAttention,
    "varlen": VarlenAttention,
}


def _shared(queries: Tensor, lanes: int, keys: Tensor, values: Tensor) -> Tensor:
    """Attends with `[B, H, D]`, of which `lanes` neighbours share a memory, to `[B, H * D]`."""
    grouped = queries.unflatten(0, (-1, lanes)).transpose(1, 2)
    return _by_step(attend_dense(grouped, keys, values))


def _over_memories(memory: KeyValuePair, queries: Tensor, entries: Sequence[int]) -> Tensor:
    """Returns attention of queries `[W, T, H, D]`, each W over its own memory `[.., H, P, D]`."""
    attended = [
        attend_dense(
            of_row[None].transpose(1, 2), memory.keys[entry, None], memory.values[entry, None]
        )
        for of_row, entry in zip(queries, entries, strict=True)
    ]
    return _by_step(torch.cat(attended))


def _by_step(attended: Tensor) -> Tensor:
    """Reorders `[W, H, T, D]` to `[W * T, H * D]`."""
    return attended.transpose(1, 2).flatten(0, 1).flatten(1)


def attend_dense(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
) -> Tensor:
    """Returns PyTorch's attention by a backend that is named here.

    By default PyTorch chooses by type and shape, so that a row would be rounded differently if
    another row's length changes the window. On a GPU only the memory-efficient backend supports
    masks in float32; elsewhere the plain one is used.
    """
    on_gpu = queries.device.type == "cuda"
    backend = SDPBackend.EFFICIENT_ATTENTION if on_gpu else SDPBackend.MATH
    with sdpa_kernel(backend):
        return F.scaled_dot_product_attention(queries, keys, values, mask, is_causal=causal)
