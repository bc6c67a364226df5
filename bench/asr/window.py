"""The window that Whisper computes for a clip, and the check of a transcript of a short window."""

from typing import TYPE_CHECKING

from bench.asr.base import SAMPLE_RATE

if TYPE_CHECKING:
    from whisper import DecodingResult

WHOLE = 30
"""Seconds; the window that Whisper was trained on."""
SHORTER = (5, 10, 15, 20)
"""Seconds; the shorter windows."""
MARGIN = 1.0
"""Seconds of silence after the speech that belong to its window."""
LEAST_LOGPROB = -1.0
MOST_COMPRESSION = 2.4
"""The limits at which Whisper's own transcribing falls back (Radford et al. 2022, "Robust Speech
Recognition via Large-Scale Weak Supervision", section 4.5)."""


def window_of(samples: int) -> int:
    """Returns the shortest window, in seconds, for speech of so many samples at 16 kHz."""
    needed = samples / SAMPLE_RATE + MARGIN
    return next((seconds for seconds in SHORTER if needed <= seconds), WHOLE)


def doubtful(result: "DecodingResult", sample_len: int) -> bool:
    """Returns whether a transcript is improbable, repeats itself, or did not end."""
    return (
        not result.avg_logprob >= LEAST_LOGPROB
        or not result.compression_ratio <= MOST_COMPRESSION
        or len(result.tokens) >= sample_len
    )
