"""The contract of ASRs, which transcribe speech.

A backend is one file in this folder, with a strict model of its keys in a job and a transcriber. It
is registered in `bench.asr.shipped`. No other folder asks which backend it has.
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
"""Hz; the rate of the clips that every ASR gets."""

MAX_SECONDS = MAX_SPEECH_SECONDS
"""Whisper's window is 30 s; longer speech is not cut, and becomes a failed row."""

USUAL_BATCH = 8
"""Clips that are transcribed at once where a job does not say, except on a GPU with Whisper."""

_NAN = float("nan")
_NAMES = {
    "no_speech_prob": "no-speech probability",
    "avg_logprob": "log-probability",
    "compression_ratio": "compression ratio",
}


@dataclass(frozen=True)
class Transcription:
    """A raw transcript and the ASR's figures about it.

    A figure is None where the ASR does not give it: Whisper gives all three, faster-whisper gives
    none for a clip without a segment, and a CTC model gives only the log-probability. NaN or an
    infinity means that the model's arithmetic failed for the clip.
    """

    transcript: str
    no_speech_prob: float | None = None
    avg_logprob: float | None = None
    compression_ratio: float | None = None

    def figures(self) -> dict[str, float]:
        """Returns the three figures, NaN for None; raises SpeechError if one is not finite."""
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
        """Transcribes clips `[T]` at 16 kHz, at most 30 s each.

        A transcript depends neither on the other clips nor on how many there are.
        Raises SpeechError where that fails; its message is the reason of every clip in the batch.
        """


BatchSize = Annotated[int, Field(ge=1, le=1024, description="clips held in memory at once")]

Facts = Mapping[str, Any]
"""What `Asr.facts` returns."""


class Asr(Strict, ABC):
    """One backend; its fields are the keys of a job's `asr`.

    `protocol` is part of every transcript's key, and is raised when a change of the code changes
    transcripts.
    """

    backend: str
    """The engine that transcribes, or a class of your own, `package.module:Class`."""
    batch: BatchSize | None = None
    """How many clips are transcribed at once. It is part of a transcript's key, because rounding
    depends on it. `null` is 8; with openai-whisper on a GPU it is up to 64, as many as fit an
    eighth of its memory, under the key of 8: rows name the GPU that they come from."""

    protocol: ClassVar[int] = 1

    def __hash__(self) -> int:
        # Pydantic hashes each field, and the options of a class are a dictionary.
        return hash(self.model_dump_json())

    @property
    def batch_in_key(self) -> int:
        """The batch that a transcript's key names, which does not depend on a machine."""
        return self.batch or USUAL_BATCH

    def batch_of(self, transcriber: Transcriber) -> int:
        """Returns how many clips a transcriber of this ASR takes at once, on its device."""
        return self.batch_in_key

    def most_at_once(self, *, on_gpu: bool) -> int:
        """Returns the largest `batch_of` on any CPU, or on any GPU: a multiple of each."""
        return self.batch_in_key

    @property
    @abstractmethod
    def label(self) -> str:
        """The ASR's name in tables."""

    @abstractmethod
    def locate(self) -> Path:
        """Returns the file or folder of the model, which is downloaded if necessary.

        Raises UserError, with the fix, where there is none.
        """

    @property
    def placed_as(self) -> str:
        """The name under which actors ask pixvox.weights for the path that `locate` returns.

        It is empty for an ASR without weights.
        """
        return ""

    def entries(self) -> Sequence[str]:
        """Returns the user's own classes that it needs, as `package.module:Class`."""
        return ()

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Returns everything that a transcript depends on except the speech.

        Files are given by their digest: `weights` is that of the model. `protocol` is the class's.
        Raises UserError for a file that cannot be read.
        """

    def identified(self) -> dict[str, Any]:
        """Returns `facts`, with the identity of the plug-in that adds its backend, if any."""
        plugin = identity(ASRS, self.backend)
        return self.facts() | ({"plugin": plugin} if plugin else {})

    @abstractmethod
    def transcriber(self, device: str, threads: int) -> Transcriber:
        """Returns a transcriber on a device; raises UserError where the device cannot run it."""

    @abstractmethod
    def signature_part(self, facts: Facts) -> str:
        """Returns its part of a score's signature: the engine, its digest, and how it decodes."""

    def described(self) -> list[str]:
        """Returns the settings in which it may differ from another ASR with the same label."""
        return []

    def in_words(self, facts: Facts) -> str:
        """Returns the text of a table's note: the label, the digest, and how it decodes."""
        return ", ".join([f"{self.label} ({facts['weights']})", *self.described()])

    def check(self) -> None:
        """Raises UserError for what would fail in every actor; may take seconds."""


def name_of(asr: Asr) -> str:
    """Returns the full name: the label, and how it decodes."""
    return ", ".join([asr.label, *asr.described()])


def names_of(asrs: Sequence[Asr]) -> dict[Asr, str]:
    """Returns a name for each: the label, and how it decodes where several share the label."""
    labels = [asr.label for asr in asrs]
    return {asr: name_of(asr) if labels.count(asr.label) > 1 else asr.label for asr in asrs}
