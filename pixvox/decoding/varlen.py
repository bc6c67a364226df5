"""Attention of variable length: PyTorch's kernel on a GPU, and a reference in plain products.

The kernel (`torch.nn.attention.varlen`, FlashAttention) computes only in 16 bits. PyTorch documents
that with `num_splits=1` a sequence's result does not depend on the others.
"""

import inspect
from collections.abc import Sequence
from itertools import accumulate
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import varlen


def has_kernel(device: torch.device) -> bool:
    """Returns whether this PyTorch has the kernel for a device, with the options that are used
    here.

    FlashAttention needs compute capability 8.0; AMD's does not have `num_splits`.
    """
    if device.type != "cuda" or torch.version.hip:
        return False
    known = inspect.signature(varlen.varlen_attn).parameters
    capable = torch.cuda.get_device_capability(device) >= (8, 0)
    return capable and {"seqused_k", "num_splits"} <= known.keys()


def sequence_starts(lengths: Sequence[int], device: torch.device) -> Tensor:
    """Returns the start of each of several sequences, and the end of the last: `[N + 1]`, int32."""
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)


def attend_to_used(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    used: Tensor,
    *,
    starts: Tensor,
    most: int,
) -> Tensor:
    """Returns attention `[B, H * D]` of queries `[B, H, D]` in N groups, each over its own keys.

    Groups start at `starts` `[N + 1]` and have at most `most` queries. Keys and values are `[N, S,
    H, D]`, of which the first `used` `[N]` positions are read.
    """
    count, length = keys.shape[:2]
    ends = torch.arange(count + 1, dtype=torch.int32, device=keys.device) * length
    compute = reference_varlen_attn if queries.device.type == "cpu" else varlen.varlen_attn
    attended = compute(
        queries,
        keys.flatten(0, 1),
        values.flatten(0, 1),
        starts,
        ends,
        most,
        length,
        seqused_k=used,
        num_splits=1,
    )
    return cast(Tensor, attended).flatten(1)


def reference_varlen_attn(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    *,
    seqused_k: Tensor,
    num_splits: int | None = None,
) -> Tensor:
    """Returns what `torch.nn.attention.varlen.varlen_attn` computes, one sequence at a time, on a
    CPU.

    Like the kernel, it computes products and softmax in float32 and returns the queries' type.
    """
    attended = torch.empty_like(query)
    edges = zip(cu_seq_q.tolist(), cu_seq_q[1:].tolist(), cu_seq_k.tolist(), strict=False)
    for (first, last, start), used in zip(edges, seqused_k.tolist(), strict=True):
        assert last - first <= max_q
        assert used <= max_k
        result = F.scaled_dot_product_attention(
            query[first:last].float().transpose(0, 1),
            key[start : start + used].float().transpose(0, 1),
            value[start : start + used].float().transpose(0, 1),
        )
        attended[first:last] = result.transpose(0, 1).to(query.dtype)
    return attended
