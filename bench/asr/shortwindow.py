"""A Whisper encoder for short clips, which computes few of the positions after the speech.

Whisper was trained on windows of 30 s, and a caption leaves nine tenths of one silent. A shorter
window is not like its training: it changes words in one clip of six. So all positions stay. Those
of the speech and a margin are computed, and so are two a second of the silent ones after them.
Every other silent position is approximated: it gets the state of that position in a window of pure
silence, plus the difference between the two at the nearest computed silent position. This holds
because speech changes the states of silence in much the same way at all positions. The states of
pure silence are computed once, and their keys and values kept for every block: 18 MB for Whisper
tiny and 490 MB for large, in float32.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.asr.window import WHOLE

if TYPE_CHECKING:
    from whisper import Whisper
    from whisper.model import AudioEncoder

QUIET = -0.65
"""The lowest value of a spectrogram with speech of usual loudness.

Whisper clips log10 of a band's energy to at most 8 below the loudest band's, and scales it to
(x + 4) / 4. So the lowest value is a quarter of the loudest band's log10, minus 1.
"""
UNUSUAL = 0.25
"""The largest difference of a clip's silence from QUIET: a factor of ten in energy."""
_POSITIONS = 50
"""Positions of the encoder a second; a position is two of a spectrogram's columns."""
_BEYOND = 8
"""Columns of silence after the window, so that the convolutions do not reach the padding."""
_EVERY = 25
"""One of this many positions after the window is computed."""


def _begun(encoder: "AudioEncoder", mel: Tensor) -> Tensor:
    """Returns states `[B, P, D]` of spectrograms `[B, mels, 2 P]`, without position embeddings."""
    return F.gelu(encoder.conv2(F.gelu(encoder.conv1(mel)))).permute(0, 2, 1)


class ShortWindow:
    """A model's encoder for short clips; it holds the states of pure silence."""

    def __init__(self, model: "Whisper") -> None:
        self.encoder = model.encoder
        self._mels = model.dims.n_mels
        self._silence: tuple[list[tuple[Tensor, Tensor]], Tensor] | None = None

    @torch.inference_mode()
    def _of_silence(self, like: Tensor) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """Returns the keys and values of 30 s of silence in every block, and the final states.

        Each is `[1, 1500, D]`.
        """
        if self._silence is None:
            encoder, keys_values = self.encoder, []
            mel = like.new_full((1, self._mels, 2 * WHOLE * _POSITIONS), QUIET)
            states = _begun(encoder, mel)
            states = (states + encoder.positional_embedding).to(states.dtype)
            for block in encoder.blocks:
                normed = block.attn_ln(states)
                keys_values.append((block.attn.key(normed), block.attn.value(normed)))
                states = block(states)
            self._silence = keys_values, encoder.ln_post(states)
        return self._silence

    @torch.inference_mode()
    def __call__(self, mel: Tensor, seconds: int) -> Tensor:
        """Returns the states `[1, 1500, D]` of one clip's spectrogram `[mels, columns]`.

        All positions of the first `seconds` are computed, and few after them. Where the clip's
        silence differs from QUIET by more than UNUSUAL, the whole window is computed.
        """
        floor = mel.min()
        if seconds == WHOLE or abs(float(floor) - QUIET) > UNUSUAL:
            columns = 2 * WHOLE * _POSITIONS
            whole: Tensor = self.encoder(_lengthened(mel, columns, floor)[None])
            return whole
        keys_values, after = self._of_silence(mel)
        encoder, count = self.encoder, seconds * _POSITIONS
        begun = _begun(encoder, _lengthened(mel, 2 * count + _BEYOND, floor)[None])
        sampled = torch.arange(count + _EVERY // 2, WHOLE * _POSITIONS, _EVERY, device=mel.device)
        # The convolutions give all positions after the window the same state: this clip's silence.
        silent = begun[:, count + 1 : count + 2].expand(-1, len(sampled), -1)
        where = torch.cat([torch.arange(count, device=mel.device), sampled])
        states = torch.cat([begun[:, :count], silent], 1) + encoder.positional_embedding[where]
        states = states.to(begun.dtype)
        for block, (keys, values) in zip(encoder.blocks, keys_values, strict=True):
            normed, attn = block.attn_ln(states), block.attn
            attended, _ = attn.qkv_attention(
                attn.query(normed),
                _filled(attn.key(normed), keys, sampled),
                _filled(attn.value(normed), values, sampled),
            )
            states = states + attn.out(attended)
            states = states + block.mlp(block.mlp_ln(states))
        return _filled(encoder.ln_post(states), after, sampled)


def _filled(computed: Tensor, silence: Tensor, sampled: Tensor) -> Tensor:
    """Returns the states `[1, 1500, D]` of all positions from the computed ones `[1, P + S, D]`.

    `sampled` are the positions of the last S. All after P are those of `silence` plus the
    difference that the nearest of `sampled` has from it.
    """
    count = computed.shape[1] - len(sampled)
    changed = computed[:, count:] - silence[:, sampled]
    nearest = torch.arange(silence.shape[1] - count, device=sampled.device) // _EVERY
    return torch.cat(
        [computed[:, :count], silence[:, count:] + changed[:, nearest.clamp(max=len(sampled) - 1)]],
        1,
    )


def _lengthened(mel: Tensor, columns: int, floor: Tensor) -> Tensor:
    """Pads a spectrogram with silence to at least this many columns."""
    more = columns - mel.shape[-1]
    return torch.cat([mel, floor.expand(*mel.shape[:-1], more)], -1) if more > 0 else mel
