"""What every ASR gives."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.common.audio import SpeechError, Wave
from bench.common.bounds import MAX_SPEECH_SECONDS

SAMPLE_RATE = 16_000
"""Hz; the rate that every ASR here takes."""

MAX_SECONDS = MAX_SPEECH_SECONDS
"""Whisper takes one window of 30 s; longer speech is a recorded failure, not a silent cut."""

_NAN = float("nan")
_NAMES = {
    "no_speech_prob": "no-speech probability",
    "avg_logprob": "log-probability",
    "compression_ratio": "compression ratio",
}


@dataclass(frozen=True)
class Transcription:
    """A raw transcript and what the ASR says of it.

    None is what an ASR does not say, for this clip or at all: whisper gives all three,
    faster-whisper too where it found a segment, a CTC model the log-probability alone. What is
    given is finite; NaN or an infinity says that the model's arithmetic broke down over the clip.
    """

    transcript: str
    no_speech_prob: float | None = None
    avg_logprob: float | None = None
    compression_ratio: float | None = None

    def figures(self) -> dict[str, float]:
        """The three figures, NaN for what is not given; raises SpeechError where one is broken."""
        figures = {}
        for name, words in _NAMES.items():
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise SpeechError(f"the ASR gave no finite {words}; its transcript is not kept")
            figures[name] = _NAN if value is None else float(value)
        return figures


class Transcriber(Protocol):
    """An ASR model on one device."""

    def transcribe(self, waves: Sequence[Wave]) -> list[Transcription]:
        """Transcribes clips `[T]` at 16 kHz, at most 30 s each, as one batch."""
