"""What every ASR gives, and which one a job means."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bench.audio import Wave
from bench.cells import key_of
from bench.spec import AsrSpec

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


def locate(spec: AsrSpec) -> Path:
    """The checkpoint's file or folder, fetched if it must be; raises UserError with the mend."""
    from bench.listening import ctc, faster, whisper

    modules = {"openai-whisper": whisper, "faster-whisper": faster, "transformers-ctc": ctc}
    return modules[spec.backend].locate(spec.model)


def asr_facts(spec: AsrSpec, checkpoint: Path) -> dict[str, Any]:
    """All that a transcript depends on beside the speech, digests for names."""
    from bench.listening import ctc, faster, whisper
    from pixvox.weights import file_digest

    modules = {"openai-whisper": whisper, "faster-whisper": faster, "transformers-ctc": ctc}
    if checkpoint.is_dir():
        # Weights, vocabulary and configuration; a card says nothing that is heard.
        files = sorted(p for p in checkpoint.iterdir() if p.is_file() and p.suffix != ".md")
        whole = key_of({path.name: file_digest(path) for path in files})
    else:
        whole = file_digest(checkpoint)[:16]
    return {
        "asr": spec.backend,
        "weights": whole,
        "beam_size": spec.beam_size,
        "batch": spec.batch,
        "arithmetic": spec.arithmetic,
        "protocol": modules[spec.backend].PROTOCOL,
    }


def make_listener(spec: AsrSpec, checkpoint: str, device: str, threads: int) -> Listener:
    """The listener of a specification; raises ValueError for float16 on a CPU."""
    if spec.arithmetic == "float16" and not device.startswith("cuda"):
        raise ValueError("asr.arithmetic: float16 needs a GPU; use float32")
    half = spec.arithmetic == "float16"
    match spec.backend:
        case "openai-whisper":
            from bench.listening.whisper import WhisperListener

            return WhisperListener(Path(checkpoint), device, spec.beam_size, half)
        case "faster-whisper":
            from bench.listening.faster import FasterListener

            return FasterListener(Path(checkpoint), device, spec.beam_size, half, threads)
        case "transformers-ctc":
            from bench.listening.ctc import CtcListener

            return CtcListener(Path(checkpoint), device, half)
