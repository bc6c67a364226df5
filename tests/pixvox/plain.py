"""The plain path: one item, the model's own cached step, nothing shared and nothing fused."""

import torch
from torch import Tensor

from pixvox.modeling import PixVoxLM
from pixvox.patterns import layout


@torch.no_grad()
def plain_greedy(model: PixVoxLM, states: Tensor, prompt: Tensor, frames: int) -> Tensor:
    """Greedy units `[K, N]` over image states `[P, M]` after a prompt `[K, P]`."""
    config = model.config
    empty, codebooks = config.empty, config.num_codebooks
    memory = model.remember(states[None])
    units = torch.full((codebooks, frames), -1)
    units[:, : prompt.shape[1]] = prompt
    end = frames
    plan = layout(config.pattern, codebooks, frames + 1)
    cache = model.new_cache(1, len(plan.steps))
    last = torch.full((1, codebooks, 1), empty)
    step = 0
    while step < len(plan.steps):
        logits = model.step(last, memory, cache, step)[0, 0]
        logits[1:, empty] = -torch.inf
        last = torch.full((1, codebooks, 1), empty)
        for t, q in plan.steps[step]:
            if t >= end:
                continue
            if units[q, t] < 0:
                units[q, t] = logits[q].argmax()
            if q == 0 and units[0, t] == empty:
                end = t
                plan = layout(config.pattern, codebooks, end + 1)
                continue
            last[0, q, 0] = units[q, t]
        step += 1
    return units[:, :end]
