"""What an ASR is: the contract of everything that transcribes.

A backend is one file in this folder: a strict model of what a job says of it, with the methods
below, and a transcriber. It is named once more, in `bench.asr.shipped`. No other room asks which
backend it has.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import Field

from bench.common.audio import SpeechError, Wave
from bench.common.bounds import MAX_SPEECH_SECONDS
from bench.common.plugins import identity
from bench.common.yamlfile import Strict
from pixvox.plugins import ASRS

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
    """An ASR on one device."""

    def transcribe(self, waves: Sequence[Wave]) -> list[Transcription]:
        """Transcribes clips `[T]` at 16 kHz, at most 30 s each, as one batch.

        Raises SpeechError where that fails; its message is the reason of every clip in the batch.
        """


Facts = Mapping[str, Any]
"""See Asr.facts."""


class Asr(Strict, ABC):
    """One backend; fields are what a job says of it.

    `protocol` is raised when a change here changes transcripts; it is part of every transcript's
    key.
    """

    backend: str
    """Which engine transcribes, or a class of your own, `package.module:Class`."""
    batch: Annotated[int, Field(ge=1, le=1024, description="clips held in memory at once")] = 8
    """How many clips are transcribed at once. It is part of a transcript's key, for it decides how
    an engine rounds."""

    protocol: ClassVar[int] = 1

    def __hash__(self) -> int:
        # Pydantic's own would hash each field, and options of a class are a dictionary.
        return hash(self.model_dump_json())

    @property
    @abstractmethod
    def label(self) -> str:
        """What tables call it."""

    @abstractmethod
    def locate(self) -> Path:
        """The file or folder that it computes with, fetched if it must be.

        Raises UserError with the fix where there is none.
        """

    @property
    def placed_as(self) -> str:
        """The name by which other machines find what `locate` gives (pixvox.weights.place).

        Empty where it is no weights.
        """
        return ""

    def entries(self) -> Sequence[str]:
        """Classes of the user's own that it needs, as `package.module:Class`."""
        return ()

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """All that a transcript depends on beside the speech, digests for names.

        `weights` is the digest of what it computes with, `protocol` this file's. Raises UserError
        for what cannot be read.
        """

    def identified(self) -> dict[str, Any]:
        """`facts`, with the identity of the plug-in that adds its backend, where one does."""
        plugin = identity(ASRS, self.backend)
        return self.facts() | ({"plugin": plugin} if plugin else {})

    @abstractmethod
    def transcriber(self, device: str, threads: int) -> Transcriber:
        """What transcribes on a device; raises UserError for what that device cannot do."""

    @abstractmethod
    def signed(self, facts: Facts) -> str:
        """Its part of a score's signature: the engine, its digest, and how it decodes."""

    def described(self) -> list[str]:
        """What tells it from others of its label, in words, for a name that has to last."""
        return []

    def in_words(self, facts: Facts) -> str:
        """What stands under a table: its label, its digest, and how it decodes."""
        return ", ".join([f"{self.label} ({facts['weights']})", *self.described()])

    def check(self) -> None:
        """Raises UserError for what would fail in every actor; may take seconds."""


def name_of(asr: Asr) -> str:
    """What it is called in whole: its label, and how it decodes."""
    return ", ".join([asr.label, *asr.described()])


def names_of(asrs: Sequence[Asr]) -> dict[Asr, str]:
    """What each is called beside the others: its label, and how it decodes where two share one."""
    labels = [asr.label for asr in asrs]
    return {asr: name_of(asr) if labels.count(asr.label) > 1 else asr.label for asr in asrs}
