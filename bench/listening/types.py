"""What every ASR gives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bench.audio import Wave

SAMPLE_RATE = 16_000
"""Hz; what every ASR here listens at."""

MAX_SECONDS = 30.0
"""Whisper hears one window of 30 s; longer speech is a recorded failure, not a silent cut."""

NAN = float("nan")


@dataclass(frozen=True)
class Heard:
    """A raw transcript and what the ASR knew about it; NaN for what it does not tell."""

    transcript: str
    no_speech_prob: float = NAN
    avg_logprob: float = NAN
    compression_ratio: float = NAN


class Listener(Protocol):
    """An ASR model on one device."""

    def hear(self, waves: Sequence[Wave]) -> list[Heard]:
        """Transcribes clips `[T]` at 16 kHz, at most 30 s each, as one batch."""
