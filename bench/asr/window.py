"""A Whisper that looks at fewer than 30 seconds where the speech is short.

Whisper was trained on windows of 30 s, and a caption leaves nine tenths of one empty. The encoder
takes fewer positions as they are, but a window that speech fills to its end makes the decoder loop;
so there is a margin, and what looks wrong is transcribed again in the whole window.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.asr.base import SAMPLE_RATE

if TYPE_CHECKING:
    from whisper import DecodingResult, Whisper

WHOLE = 30
"""Seconds; the window that Whisper was trained on."""
SHORTER = (10, 15, 20)
"""Seconds; the windows that short speech is given."""
MARGIN = 2.0
"""Seconds of silence that a shorter window has after the speech."""
LEAST_LOGPROB = -1.0
MOST_COMPRESSION = 2.4
"""The limits at which Whisper's own transcribing falls back (Radford et al. 2022, "Robust Speech
Recognition via Large-Scale Weak Supervision", section 4.5)."""
_POSITIONS = 50
"""Positions of the encoder a second."""


def window_of(samples: int) -> int:
    """Seconds of the shortest window for speech of so many samples at 16 kHz."""
    needed = samples / SAMPLE_RATE + MARGIN
    return next((seconds for seconds in SHORTER if needed <= seconds), WHOLE)


def doubtful(result: "DecodingResult", sample_len: int) -> bool:
    """Whether a transcript looks like a loop, a guess, or one that did not end."""
    return (
        not result.avg_logprob >= LEAST_LOGPROB
        or not result.compression_ratio <= MOST_COMPRESSION
        or len(result.tokens) >= sample_len
    )


def grouped(samples: Sequence[int]) -> dict[int, list[int]]:
    """Window in seconds → the numbers of the clips that it is for, shortest window first."""
    groups: dict[int, list[int]] = {}
    for number, count in enumerate(samples):
        groups.setdefault(window_of(count), []).append(number)
    return dict(sorted(groups.items()))


@contextmanager
def looking_at(model: "Whisper", seconds: int) -> Iterator[None]:
    """Has the model take spectrograms of so many seconds."""
    dims, positions = model.dims, model.encoder.positional_embedding
    context = seconds * _POSITIONS
    model.dims = replace(dims, n_audio_ctx=context)
    model.encoder.positional_embedding = positions[:context]
    try:
        yield
    finally:
        model.dims, model.encoder.positional_embedding = dims, positions
