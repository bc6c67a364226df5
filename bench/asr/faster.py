"""faster-whisper (CTranslate2) as the transcriber: Whisper's weights in another engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from bench.asr.base import Transcriber, Transcription
from bench.asr.packaged_whisper import PACKAGED, TINY_EN, is_packaged, offline_advice
from bench.asr.weights import WeightsAsr
from bench.common.audio import Wave
from bench.common.errors import UserError
from bench.common.yamlfile import WeightsName


class FasterAsr(WeightsAsr):
    """Whisper in CTranslate2; greedy unless a beam is asked for."""

    backend: Literal["faster-whisper"]
    model: WeightsName = TINY_EN.name

    def find(self) -> Path:
        """See WeightsAsr."""
        return _folder(self.model)

    def transcriber(self, device: str, threads: int) -> Transcriber:
        """See Asr."""
        return FasterTranscriber(self, device, threads)


def _folder(name: str) -> Path:
    """The model's folder: of the pinned package, else a folder or a hub's name.

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


class FasterTranscriber:
    """A CTranslate2 Whisper on one device; clips are transcribed one at a time."""

    def __init__(self, spec: FasterAsr, device: str, threads: int) -> None:
        kind = "float16" if spec.half(device) else "float32"
        folder = str(spec.locate())
        from faster_whisper import WhisperModel

        self.model = WhisperModel(folder, device=device, compute_type=kind, cpu_threads=threads)
        self.beam_size = spec.beam_size or 1

    def transcribe(self, waves: Sequence[Wave]) -> list[Transcription]:
        """See Transcriber; temperature fallback and conditioning on earlier text are off."""
        return [self._one(wave) for wave in waves]

    def _one(self, wave: Wave) -> Transcription:
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
