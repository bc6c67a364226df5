"""Eager decoding for comparison: transformers' BLIP text model with its dynamic cache.

It is the usual loop over BlipTextModel with embeddings and heads for codebooks: a batch runs until
its last row has ended, and the cache grows by concatenation.
"""

import torch
from torch import Tensor
from transformers import BlipTextConfig
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.models.blip.modeling_blip_text import BlipTextModel

from pixvox.blip import decoder_name
from pixvox.modeling import PixVoxLM
from pixvox.patterns import layout


def as_blip_text(model: PixVoxLM) -> BlipTextModel:
    """Returns the same decoder as transformers' BlipTextModel, in the model's type and place."""
    config = model.config
    text = BlipTextConfig(
        hidden_size=config.hidden_size,
        encoder_hidden_size=config.memory_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        max_position_embeddings=config.max_position_embeddings,
        layer_norm_eps=config.layer_norm_eps,
        is_decoder=True,
        vocab_size=8,
        bos_token_id=1,
        sep_token_id=2,
    )
    text._attn_implementation = "eager"
    other = BlipTextModel(text, add_pooling_layer=False).eval()
    own = model.state_dict()
    wanted = {name: decoder_name(name) for name in other.state_dict()}
    shared = {name: own[ours] for name, ours in wanted.items() if ours is not None}
    other.load_state_dict(shared, strict=False)
    return other.to(model.device, model.dtype)


@torch.inference_mode()
def eager_greedy(
    model: PixVoxLM,
    text: BlipTextModel,
    states: Tensor,
    frames: int,
    *,
    lengths: Tensor | None = None,
) -> tuple[list[Tensor], int]:
    """Returns greedy units `[K, N]` of each row of image states `[B, P, M_vision]`, and the
    number of steps.

    `lengths` `[B]` ends each row after this many frames, for weights that never end speech.
    """
    config = model.config
    rows, codebooks, empty = len(states), config.num_codebooks, config.empty
    plan = layout(config.pattern, codebooks, frames + 1)
    frame_of = plan.frame_of.to(states.device)
    sequence = torch.full((rows, codebooks, len(plan.steps)), empty, device=states.device)
    last = torch.full((rows, codebooks), empty, device=states.device)
    ends = torch.full((rows,), frames, device=states.device)
    if lengths is not None:
        ends = lengths.to(states.device)
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    memory = model.projected(states)
    number = 0
    for number in range(len(plan.steps)):
        embedded = torch.stack(
            [table(last[:, q]) for q, table in enumerate(model.embeddings.codebooks)]
        ).sum(0)
        hidden = text(
            inputs_embeds=embedded[:, None],
            encoder_hidden_states=memory,
            past_key_values=cache,
            use_cache=True,
            is_decoder=True,
        ).last_hidden_state[:, 0]
        if model.transform is not None:
            hidden = model.transform(hidden)
        logits = torch.stack([head(hidden) for head in model.heads], 1)
        logits[:, 1:, empty] = -torch.inf
        frame = frame_of[:, number]
        inside = (frame >= 0) & (frame < ends[:, None])
        last = torch.where(inside, logits.argmax(-1), empty)
        stopped = inside[:, 0] & (last[:, 0] == empty)
        ends = torch.where(stopped, frame[0], ends)
        sequence[:, :, number] = last
        if bool((plan.step_of.to(ends.device)[:, (ends - 1).clamp_min(0)] <= number).all()):
            break
    units = plan.revert(sequence)
    return [units[row, :, : int(ends[row])] for row in range(rows)], number + 1
