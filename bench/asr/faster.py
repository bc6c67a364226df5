"""faster-whisper (CTranslate2) as the transcriber: Whisper's weights in another engine."""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from bench.asr.base import Transcriber, Transcription
from bench.asr.packaged_whisper import PACKAGED, TINY_EN, is_packaged, offline_advice
from bench.asr.weights import WeightsAsr
from bench.common.audio import Wave
from bench.common.errors import UserError
from bench.common.yamlfile import WeightsName

_CUBLAS = "libcublas.so.12"
"""The library that CTranslate2 loads when it first computes on a GPU."""


class FasterAsr(WeightsAsr):
    """Whisper in CTranslate2; greedy unless a beam is asked for."""

    backend: Literal["faster-whisper"]
    model: WeightsName = TINY_EN.name

    def find(self) -> Path:
        return _folder(self.model)

    def transcriber(self, device: str, threads: int) -> Transcriber:
        return FasterTranscriber(self, device, threads)


def _folder(name: str) -> Path:
    """Returns the model's folder: that of a pinned package, a local one, or a downloaded one.

    Raises UserError where faster-whisper or the model is missing.
    """
    try:
        from faster_whisper import download_model
    except ImportError as error:
        raise UserError(
            "asr: faster-whisper is missing; run: pip install faster-whisper"
        ) from error
    if is_packaged(name):
        return PACKAGED[name].ctranslate2_folder()
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    try:
        return Path(download_model(name))
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"asr.model: {name!r} could not be downloaded ({reason}); "
            f"{offline_advice(name, 'folder')}"
        ) from error


def _check_cublas() -> None:
    """Raises UserError where CTranslate2's CUDA library cannot be loaded."""
    try:
        ctypes.CDLL(_CUBLAS)
    except OSError as error:
        raise UserError(
            f"asr.backend: faster-whisper on a GPU needs {_CUBLAS}, which does not load; "
            "pip install nvidia-cublas-cu12 and have LD_LIBRARY_PATH name its lib folder, or use "
            "openai-whisper (PyTorch for CUDA 13 brings version 13, which CTranslate2 does not use)"
        ) from error


class FasterTranscriber:
    """A CTranslate2 Whisper on one device; clips are transcribed one at a time."""

    def __init__(self, spec: FasterAsr, device: str, threads: int) -> None:
        kind = "float16" if spec.half(device) else "float32"
        if device.startswith("cuda"):
            _check_cublas()
        folder = str(spec.locate())
        from faster_whisper import WhisperModel

        self.model = WhisperModel(folder, device=device, compute_type=kind, cpu_threads=threads)
        self.beam_size = spec.beam_size or 1

    def transcribe(self, waves: Sequence[Wave]) -> list[Transcription]:
        """Transcribes clips, without temperature fallback or conditioning on earlier text."""
        return [self._transcribe_clip(wave) for wave in waves]

    def _transcribe_clip(self, wave: Wave) -> Transcription:
        decoded, _ = self.model.transcribe(
            wave,
            language="en",
            beam_size=self.beam_size,
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
            vad_filter=False,
        )
        segments = list(decoded)
        if not segments:
            return Transcription("")
        text = "".join(segment.text for segment in segments).strip()
        first = segments[0]
        return Transcription(text, first.no_speech_prob, first.avg_logprob, first.compression_ratio)
