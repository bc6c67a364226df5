"""Batched autoregressive decoding whose result does not depend on the batch.

A fixed number of slots advances in step. Every row's noise is keyed by (seed, item, step), and a
row never sees another, so an item's units are the same whatever it is decoded with.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pixvox.modeling import Memory, PixVoxLM
from pixvox.patterns import layout

PROTOCOL = 1
"""Raised when a change here changes units; part of every cell's id."""


@dataclass(frozen=True)
class Decoding:
    """How units are chosen.

    `temperature` 0 is greedy. `top_k` 0 and `top_p` 1 keep everything. `max_seconds` bounds the
    speech, the prompt included; what reaches it is recorded as not ended.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0
    max_seconds: float = 6.0
    slots: int = 32

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise ValueError("need temperature >= 0, top_k >= 0 and 0 < top_p <= 1")
        if self.max_seconds <= 0 or self.slots < 1:
            raise ValueError("need max_seconds > 0 and slots >= 1")


@dataclass(frozen=True)
class Request:
    """One speech to make: of which row of the images, after which prompt `[K, P]` (P may be 0)."""

    item: str
    image: int
    prompt: Tensor


@dataclass(frozen=True)
class Generation:
    """Units `[K, N]`, prompt included, and whether the model ended the speech itself."""

    item: str
    units: Tensor
    ended: bool


def _noise(decoding: Decoding, item: str) -> np.random.Generator:
    """The row's own stream of noise, a function of seed and item alone."""
    key = hashlib.sha256(f"{decoding.seed}\0{item}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))


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


def choose(logits: Tensor, decoding: Decoding, noise: Sequence[np.random.Generator]) -> Tensor:
    """Units `[B, K]` from logits `[B, K, V]`: the likeliest, or a draw by the Gumbel-max trick."""
    if decoding.temperature == 0:
        return logits.argmax(-1)
    uniform = np.stack([rng.random(logits.shape[1:], dtype=np.float32) for rng in noise])
    gumbel = -torch.from_numpy(uniform).clamp_min(1e-20).log().neg().clamp_min(1e-20).log()
    return (_filtered(logits, decoding) + gumbel).argmax(-1)


def generate(
    model: PixVoxLM, images: Tensor, requests: Sequence[Request], decoding: Decoding
) -> Iterator[Generation]:
    """Decodes all requests over image states `[I, P, M_vision]`, `decoding.slots` at a time.

    Raises ValueError where `max_seconds` or a prompt needs more positions than the model has.
    """
    for start in range(0, len(requests), decoding.slots):
        group = requests[start : start + decoding.slots]
        yield from _decode(model, images, group, decoding)


@torch.inference_mode()
def _decode(
    model: PixVoxLM, images: Tensor, group: Sequence[Request], decoding: Decoding
) -> list[Generation]:
    config = model.config
    codebooks, empty = config.num_codebooks, config.empty
    frames = round(decoding.max_seconds * config.frame_rate)
    for request in group:
        if request.prompt.shape[0] != codebooks or request.prompt.shape[1] >= frames:
            raise ValueError(
                f"{request.item}: a prompt of {tuple(request.prompt.shape)} does not fit "
                f"{codebooks} codebooks and {frames} frames; raise max_seconds or cut the prompt"
            )
    # Every layout ends with the frame that says "no unit": the end of speech.
    plan = layout(config.pattern, codebooks, frames + 1)
    steps = len(plan.steps)
    if steps > config.max_position_embeddings:
        raise ValueError(
            f"{decoding.max_seconds} s need {steps} steps, the model has "
            f"{config.max_position_embeddings} positions; lower max_seconds"
        )
    slots = decoding.slots
    rows = [group[index % len(group)] for index in range(slots)]
    noise = [_noise(decoding, request.item) for request in rows]
    states = images[[request.image for request in rows]]
    memory: Memory = model.remember(states)
    cache = model.new_cache(slots, steps)
    forced = torch.full((slots, codebooks, frames + 1), -1)
    for index, request in enumerate(rows):
        forced[index, :, : request.prompt.shape[1]] = request.prompt
    given = plan.build(forced, -1)
    sequence = torch.full((slots, codebooks, steps + 1), empty)
    ends = torch.full((slots,), frames)
    for number in range(steps):
        # Choosing is done on the CPU, where every machine draws the same noise.
        last = sequence[:, :, number : number + 1].to(images.device)
        logits = model.step(last, memory, cache, number)
        # Only the first codebook may end the speech; the others follow it.
        logits = logits[:, 0].float().cpu()
        logits[:, 1:, empty] = -torch.inf
        chosen = choose(logits, decoding, noise)
        active = plan.frame_of[:, number]
        chosen = torch.where(given[:, :, number] >= 0, given[:, :, number], chosen)
        chosen = torch.where((active >= 0) & (active < ends[:, None]), chosen, empty)
        stopped = (chosen[:, 0] == empty) & (active[0] >= 0) & (active[0] < ends)
        ends = torch.where(stopped, active[0], ends)
        sequence[:, :, number + 1] = chosen
        if bool((plan.step_of[:, (ends - 1).clamp_min(0)].amax(0) <= number).all()):
            break
    units = plan.revert(sequence[:, :, 1:])
    return [
        Generation(
            request.item, units[index, :, : int(ends[index])].clone(), int(ends[index]) < frames
        )
        for index, request in enumerate(group)
    ]
