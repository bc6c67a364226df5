"""Choosing units from logits, with noise that belongs to the item and not to the batch."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Decoding:
    """How units are chosen.

    `temperature` 0 is greedy. `top_k` 0 and `top_p` 1 keep everything. `max_seconds` bounds the
    speech, the prompt included; what reaches it is recorded as not ended. `slots` sequences are
    decoded at once; on a GPU, each `lanes` neighbours share one image's keys and values.
    `arithmetic` bfloat16, on a GPU only, reads half the bytes a step and rounds more.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    max_seconds: float = 6.0
    slots: int = 32
    lanes: int = 1
    arithmetic: str = "float32"

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise ValueError("need temperature >= 0, top_k >= 0 and 0 < top_p <= 1")
        if self.max_seconds <= 0 or self.slots < 1:
            raise ValueError("need max_seconds > 0 and slots >= 1")
        if self.lanes < 1 or self.slots % self.lanes:
            raise ValueError(f"lanes must divide the {self.slots} slots, not {self.lanes}")
        if self.arithmetic not in ("float32", "bfloat16"):
            raise ValueError(f"arithmetic {self.arithmetic!r}: use float32 or bfloat16")


def item_noise(seed: int, item: str, steps: int, codebooks: int) -> Tensor:
    """The item's own uniform noise in [0, 1), `[steps, K]`: a function of seed and item alone.

    Philox (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3") keyed by a hash;
    row s is what step s draws, however many steps are asked for.
    """
    key = hashlib.sha256(f"{seed}\0{item}".encode()).digest()
    rng = np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))
    return torch.from_numpy(rng.random((steps, codebooks), dtype=np.float32))


def _filtered(logits: Tensor, decoding: Decoding) -> Tensor:
    """Logits `[..., V]` over temperature, -inf outside the top k and the top p.

    Top-p is Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1:
    the smallest set of the likeliest whose probability reaches p.
    """
    logits = logits / decoding.temperature
    if 0 < decoding.top_k < logits.shape[-1]:
        least = logits.topk(decoding.top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if decoding.top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True, stable=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        ordered = ordered.masked_fill(before >= decoding.top_p, -torch.inf)
        logits = torch.empty_like(logits).scatter_(-1, order, ordered)
    return logits


def choose(logits: Tensor, decoding: Decoding, uniform: Tensor) -> Tensor:
    """Units `[B, K]` from logits `[B, K, V]`: the likeliest, or a draw by inverse CDF.

    `uniform` `[B, K]` in [0, 1) is the noise; one number a draw, so that a whole item's noise is
    a small table that can be made before decoding starts.
    """
    if decoding.temperature == 0:
        return logits.argmax(-1)
    # In float64 the product below stays under the total, so no unit of probability 0 is drawn.
    cumulative = _filtered(logits, decoding).softmax(-1).double().cumsum(-1)
    threshold = uniform[..., None] * cumulative[..., -1:]
    return (cumulative <= threshold).sum(-1)
