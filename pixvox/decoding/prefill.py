"""Keys and values of a prompt's steps, computed many steps at a time instead of one by one.

What the steps of a prompt choose is given, so they need no logits and no draws, and all of them can
go through a layer together. A prompt's first steps then cost a row no time in the step loop.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from pixvox.decoding.attention import attend
from pixvox.decoding.stepper import Layer, Stepper, attend_dense


def prefilled_steps(stepper: Stepper, steps: int) -> int:
    """How many of a prompt's first steps `prefill` takes; the others are left to the step loop.

    Dense attention takes all. Ragged attention takes whole blocks of as many steps as there are
    slots: the products of a block have the shape of a decoding step's, so keys and values are bit
    for bit those of the step loop, and units do not change.
    """
    return steps if stepper.dense else steps // stepper.slots * stepper.slots


def prefill(stepper: Stepper, slot: int, entry: int, units: Tensor) -> None:
    """Writes the keys and values of a row's first T steps, whose inputs are units `[K, T]`.

    The row is that of `slot`, and memory `entry` has its image; `prefilled_steps` gives T.
    """
    steps = units.shape[1]
    block = steps if stepper.dense else stepper.slots
    for start in range(0, steps, block):
        _prefill_block(stepper, slot, entry, units[:, start : start + block].T, start=start)


def _prefill_block(stepper: Stepper, slot: int, entry: int, units: Tensor, *, start: int) -> None:
    """Units `[T, K]` at positions from `start`; a guided row goes over both of its images at once.

    In shapes, W is 2 for a guided row and else 1.
    """
    end = start + len(units)
    rows = slice(slot, None, stepper.slots)
    entries = [entry, stepper.null_entry] if stepper.guided else [entry]
    x = F.embedding(units + stepper.offsets, stepper.embeddings).sum(1)
    x = stepper.embedding_norm(x + stepper.positions[start:end]).repeat(len(entries), 1)
    for part in stepper.layers:
        qkv = part.qkv(x).view(len(entries), -1, 3, stepper.heads, stepper.head_size)
        queries, keys, values = qkv.permute(2, 0, 3, 1, 4)
        if stepper.dense:
            part.keys[rows, :, start:end] = keys
        else:
            part.keys[rows, :, :, start:end] = keys.mT
        part.values[rows, :, start:end] = values
        if part is stepper.layers[-1]:
            # Of the last layer later steps read keys and values alone.
            return
        if stepper.dense:
            attended = _by_token(attend_dense(queries, keys, values, causal=True))
        else:
            attended = _attend_to_prefix(stepper, part, queries, slot, start=start)
        x = part.attention_output(x, attended)
        queries = part.query(x).view(len(entries), -1, stepper.heads, stepper.head_size)
        if stepper.dense:
            attended = _attend_to_images(part, queries.transpose(1, 2), entries)
        else:
            owner = torch.tensor(entries).repeat_interleave(stepper.slots)
            stepper.ragged_cross(part, queries.flatten(0, 1), owner)
            attended = stepper.attended.flatten(1)
        x = part.cross_output(x, attended)
        x = part.output(x, part.intermediate(x))


def _attend_to_prefix(
    stepper: Stepper, part: Layer, queries: Tensor, slot: int, *, start: int
) -> Tensor:
    """Queries `[W, H, T, D]` over the row's own keys so far → `[W * T, H * D]`; T is the slots."""
    wide = len(queries)
    rows = torch.arange(wide) * stepper.slots + slot
    used = torch.arange(start + 1, start + 1 + stepper.slots).repeat(wide)
    attend(
        queries.transpose(1, 2).flatten(0, 1).contiguous().numpy(),
        part.keys.numpy(),
        part.values.numpy(),
        rows.repeat_interleave(stepper.slots).numpy(),
        used.numpy(),
        stepper.attended.numpy(),
    )
    return stepper.attended.flatten(1)


def _attend_to_images(part: Layer, queries: Tensor, entries: list[int]) -> Tensor:
    """Queries `[W, H, T, D]`, each W over a memory of its own → `[W * T, H * D]`."""
    attended = [
        attend_dense(
            queries[row : row + 1],
            part.image_keys[entry : entry + 1],
            part.image_values[entry : entry + 1],
        )
        for row, entry in enumerate(entries)
    ]
    return _by_token(torch.cat(attended))


def _by_token(attended: Tensor) -> Tensor:
    """`[W, H, T, D]` → `[W * T, H * D]`."""
    return attended.transpose(1, 2).flatten(0, 1).flatten(1)
