"""An ASR in a user's own Python class.

    class Mine:
        def __init__(self, device: str, threads: int, **options): ...
        def transcribe(self, waves: list[numpy.ndarray]) -> list[str]: ...

`waves` are mono samples `[T]` in -1..1 at 16 kHz. There are always `batch` of them: a shorter batch
is padded with its first clip. An exception of `transcribe` fails the items of the batch.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from bench.asr.base import Asr, Facts, Transcriber, Transcription
from bench.common.audio import SpeechError, Wave
from bench.common.bounds import Note, Option
from bench.common.entries import Entry, check_class, instantiate, source_of
from bench.common.machinefaults import is_machines
from bench.common.text import reason_of

_WHO = "asr.backend"


class OwnAsr(Asr):
    """A class of your own, as `backend: package.module:Class` (see bench.asr.own)."""

    backend: Entry
    options: dict[str, Option] = Field(default_factory=dict)
    """Keyword arguments of the class."""
    version: Note = ""
    """Part of a transcript's key, beside the module's source: change it when something else that
    the class depends on has changed."""

    @property
    def label(self) -> str:
        """The class, as the job names it."""
        return self.backend

    def locate(self) -> Path:
        """Returns the file of the class's module."""
        return source_of(self.backend, _WHO)

    def entries(self) -> Sequence[str]:
        return (self.backend,)

    def facts(self) -> dict[str, Any]:
        from pixvox.digests import file_digest

        return {
            "asr": self.backend,
            "weights": file_digest(self.locate())[:16],
            "options": self.options,
            "version": self.version,
            "batch": self.batch_in_key,
            "protocol": self.protocol,
        }

    def transcriber(self, device: str, threads: int) -> Transcriber:
        return OwnTranscriber(self, device, threads)

    def signature_part(self, facts: Facts) -> str:
        """Returns the class and two digests: of its file, and of options and version."""
        how = json.dumps([self.options, self.version], sort_keys=True)
        digest = hashlib.sha256(how.encode()).hexdigest()[:8]
        return f"{self.backend}@{facts['weights']}.{digest}.v{facts['protocol']}"

    def described(self) -> list[str]:
        version = [f"version {self.version}"] if self.version else []
        return [f"{name} {value}" for name, value in self.options.items()] + version

    def check(self) -> None:
        options = {"device": "", "threads": 1} | self.options
        check_class(self.backend, _WHO, method="transcribe", takes="waves", options=options)


class OwnTranscriber:
    """Holds one instance of the user's class."""

    def __init__(self, spec: OwnAsr, device: str, threads: int) -> None:
        options = {"device": device, "threads": threads} | spec.options
        self.asr = instantiate(spec.backend, _WHO, options)
        self.batch = spec.batch_in_key

    def transcribe(self, waves: Sequence[Wave]) -> list[Transcription]:
        try:
            texts = self.asr.transcribe([*waves, *[waves[0]] * (self.batch - len(waves))])
        except Exception as error:
            if is_machines(error, reason_of(error)):
                raise
            # Any other exception of the user's code is the failure of the batch.
            raise SpeechError(reason_of(error)) from error
        if not isinstance(texts, list):
            raise SpeechError(f"the ASR gave {type(texts).__name__}, not a list of transcripts")
        wanted = max(self.batch, len(waves))
        if len(texts) != wanted:
            raise SpeechError(f"the ASR gave {len(texts)} transcripts of {wanted} clips")
        return [Transcription(_checked(text)) for text in texts[: len(waves)]]


def _checked(text: object) -> str:
    if not isinstance(text, str):
        raise SpeechError(f"the ASR gave {type(text).__name__} for a transcript, not text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise SpeechError(f"the ASR gave a transcript that is no text ({error.reason})") from error
    return text
