"""openai-whisper's text decoder for a CPU: the same numbers, fewer bytes read at every token.

A token's step takes as long as reading its operands from memory. The library reads the keys and
values of all 1500 positions for every clip of a batch, also for clips that have ended and for
padding, in an order that a CPU cannot prefetch, and multiplies by a transposed embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from whisper.decoding import Inference
from whisper.tokenizer import get_tokenizer

if TYPE_CHECKING:
    from whisper import Whisper
    from whisper.model import ResidualAttentionBlock


@dataclass(frozen=True, kw_only=True)
class _Memory:
    """What one block remembers of the clips: keys and values, `[B, H, T, D / H]`."""

    keys: Tensor
    values: Tensor
    clips: Sequence[tuple[Tensor, Tensor]]
    """The keys and values of every clip's sound, `[1, H, P, D / H]`."""


class StepOnCpu(Inference):
    """Logits of one token after another; it replaces openai-whisper's PyTorchInference.

    Products have `batch` rows however many clips there are, since rounding depends on their number.
    """

    def __init__(self, model: "Whisper", *, batch: int) -> None:
        self._decoder, self._heads = model.decoder, model.dims.n_text_head
        self._positions = model.dims.n_text_ctx
        self._batch = batch
        self._end: int = get_tokenizer(model.is_multilingual).eot
        # Contiguous, this product takes two thirds of the time of a transposed view.
        self._embedding = model.decoder.token_embedding.weight.t().contiguous()
        self._memories: list[_Memory] = []
        self._length = 0

    def logits(self, tokens: Tensor, audio_features: Tensor) -> Tensor:
        """Returns the logits `[B, T, vocabulary]` of the tokens that are new in `tokens [B, N]`.

        The first call takes all tokens, a later one the last of them. `audio_features` are the
        clips' states `[B, P, D]`. The logits of a clip that has ended mean nothing.
        """
        if not self._memories:
            self._memories = [self._remember(block, audio_features) for block in self._blocks()]
        new = tokens[:, self._length :]
        clips, count = new.shape
        going = [n for n, ended in enumerate((tokens[:, -1] == self._end).tolist()) if not ended]
        start, end = self._length, self._length + count
        decoder = self._decoder
        states = decoder.token_embedding(new) + decoder.positional_embedding[start:end]
        states = F.pad(states, (0, 0, 0, 0, 0, self._batch - clips))
        for block, memory in zip(self._blocks(), self._memories, strict=True):
            # 1. attention to the text
            normed, attention = block.attn_ln(states), block.attn
            memory.keys[:, :, start:end] = self._split(attention.key(normed))
            memory.values[:, :, start:end] = self._split(attention.value(normed))
            attended = F.scaled_dot_product_attention(
                self._split(attention.query(normed)),
                memory.keys[:, :, :end],
                memory.values[:, :, :end],
                is_causal=count > 1,
            )
            states = states + attention.out(_joined(attended))
            # 2. attention to the sound, of clips that have not ended
            attention = block.cross_attn
            queries = self._split(attention.query(block.cross_attn_ln(states)))
            attended = torch.zeros_like(queries)
            for clip in going:
                attended[clip] = F.scaled_dot_product_attention(
                    queries[clip : clip + 1], *memory.clips[clip]
                )[0]
            states = states + attention.out(_joined(attended))
            # 3. the rest of the block
            states = states + block.mlp(block.mlp_ln(states))
        self._length = end
        return (decoder.ln(states) @ self._embedding)[:clips]

    def cleanup_caching(self) -> None:
        """Forgets the clips."""
        self._memories, self._length = [], 0

    def _blocks(self) -> "Sequence[ResidualAttentionBlock]":
        return self._decoder.blocks

    def _remember(self, block: "ResidualAttentionBlock", audio_features: Tensor) -> _Memory:
        width = audio_features.shape[-1] // self._heads
        text = (self._batch, self._heads, self._positions, width)
        clips = [
            (
                self._split(block.cross_attn.key(states)).contiguous(),
                self._split(block.cross_attn.value(states)).contiguous(),
            )
            for states in audio_features.split(1)
        ]
        return _Memory(
            keys=audio_features.new_empty(text), values=audio_features.new_empty(text), clips=clips
        )

    def _split(self, states: Tensor) -> Tensor:
        """Returns `[B, T, D]` as `[B, H, T, D / H]`."""
        return states.unflatten(-1, (self._heads, -1)).transpose(1, 2)


def _joined(attended: Tensor) -> Tensor:
    """Returns `[B, H, T, D / H]` as `[B, T, D]`."""
    return attended.transpose(1, 2).flatten(2)
