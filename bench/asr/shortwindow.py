"""A Whisper that computes what the speech covers, and of silence only what the speech changes.

Whisper was trained on windows of 30 s, and a caption leaves nine tenths of one empty. Fewer
positions alone are no window that it knows: words change in one clip of six. So all positions stay.
Those of the speech and a margin are computed, and of those after them two a second. The others are
what silence alone has there, which is computed once for all clips, with the change that the nearest
computed one has: silence takes much the same over from the speech wherever it stands. What silence
alone has is kept for every block, which is 18 MB for Whisper tiny and 490 MB for large in float32.
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
"""What silence is in a spectrogram beside speech of usual loudness, in Whisper's own units: a
quarter of the loudest band's decimal logarithm, less 1."""
UNUSUAL = 0.25
"""How far from that a clip's silence may be: by a factor of ten in energy, either way."""
_POSITIONS = 50
"""Positions of the encoder a second; a position is two of a spectrogram's columns."""
_BEYOND = 8
"""Columns of silence after the window, for what its convolutions reach."""
_EVERY = 25
"""Of so many positions after the window one is computed."""


def _begun(encoder: "AudioEncoder", mel: Tensor) -> Tensor:
    """Spectrograms `[B, mels, 2 P]` as states before the first block, `[B, P, D]`, no positions."""
    return F.gelu(encoder.conv2(F.gelu(encoder.conv1(mel)))).permute(0, 2, 1)


class ShortWindow:
    """A model's encoder for short clips, beside what silence alone is to it."""

    def __init__(self, model: "Whisper") -> None:
        self.encoder = model.encoder
        self._mels = model.dims.n_mels
        self._silence: tuple[list[tuple[Tensor, Tensor]], Tensor] | None = None

    @torch.inference_mode()
    def _of_silence(self, like: Tensor) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """Every block's keys and values of 30 s of silence, `[1, 1500, D]`, and its states."""
        if self._silence is None:
            encoder, kept = self.encoder, []
            mel = like.new_full((1, self._mels, 2 * WHOLE * _POSITIONS), QUIET)
            states = _begun(encoder, mel)
            states = (states + encoder.positional_embedding).to(states.dtype)
            for block in encoder.blocks:
                seen = block.attn_ln(states)
                kept.append((block.attn.key(seen), block.attn.value(seen)))
                states = block(states)
            self._silence = kept, encoder.ln_post(states)
        return self._silence

    @torch.inference_mode()
    def __call__(self, mel: Tensor, seconds: int) -> Tensor:
        """States `[1, 1500, D]` of one clip's spectrogram `[mels, columns]`.

        Only the first `seconds` are computed one by one. Where the clip's silence is not like the
        usual one, the whole window is.
        """
        floor = mel.min()
        if seconds == WHOLE or abs(float(floor) - QUIET) > UNUSUAL:
            columns = 2 * WHOLE * _POSITIONS
            whole: Tensor = self.encoder(_lengthened(mel, columns, floor)[None])
            return whole
        kept, after = self._of_silence(mel)
        encoder, count = self.encoder, seconds * _POSITIONS
        begun = _begun(encoder, _lengthened(mel, 2 * count + _BEYOND, floor)[None])
        some = torch.arange(count + _EVERY // 2, WHOLE * _POSITIONS, _EVERY, device=mel.device)
        # A position after the window sees nothing but silence, as loud as this clip's.
        silent = begun[:, count + 1 : count + 2].expand(-1, len(some), -1)
        where = torch.cat([torch.arange(count, device=mel.device), some])
        states = torch.cat([begun[:, :count], silent], 1) + encoder.positional_embedding[where]
        states = states.to(begun.dtype)
        for block, (keys, values) in zip(encoder.blocks, kept, strict=True):
            seen, attn = block.attn_ln(states), block.attn
            attended, _ = attn.qkv_attention(
                attn.query(seen),
                _filled(attn.key(seen), keys, some),
                _filled(attn.value(seen), values, some),
            )
            states = states + attn.out(attended)
            states = states + block.mlp(block.mlp_ln(states))
        return _filled(encoder.ln_post(states), after, some)


def _filled(computed: Tensor, silence: Tensor, some: Tensor) -> Tensor:
    """What was computed, `[1, P + S, D]`, as `[1, 1500, D]`.

    The last S are those at the positions `some`; the others after P are what `silence` has there,
    changed as the nearest of `some` is.
    """
    count = computed.shape[1] - len(some)
    changed = computed[:, count:] - silence[:, some]
    nearest = torch.arange(silence.shape[1] - count, device=some.device) // _EVERY
    return torch.cat(
        [computed[:, :count], silence[:, count:] + changed[:, nearest.clamp(max=len(some) - 1)]], 1
    )


def _lengthened(mel: Tensor, columns: int, floor: Tensor) -> Tensor:
    """A spectrogram with as many columns, silence at its end."""
    more = columns - mel.shape[-1]
    return torch.cat([mel, floor.expand(*mel.shape[:-1], more)], -1) if more > 0 else mel
