"""openai-whisper as the transcriber: greedy, without fallback, one clip's text for one clip."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from bench.asr import packaged_whisper
from bench.asr.base import Transcriber, Transcription
from bench.asr.weights import WeightsAsr
from bench.common.audio import Wave
from bench.common.errors import UserError
from bench.common.kept import cache_folder
from bench.common.yamlfile import WeightsName


class WhisperAsr(WeightsAsr):
    """OpenAI's Whisper by its own package; greedy unless a beam is asked for."""

    backend: Literal["openai-whisper"] = "openai-whisper"
    model: WeightsName = packaged_whisper.NAME

    def locate(self) -> Path:
        """See Asr."""
        return _checkpoint(self.model)

    def digest(self) -> str:
        """See WeightsAsr."""
        ours = self.model == packaged_whisper.NAME
        return packaged_whisper.digest() if ours else super().digest()

    def transcriber(self, device: str, threads: int) -> Transcriber:
        """See Asr."""
        return WhisperTranscriber(self, device)


def _checkpoint(name: str) -> Path:
    """The checkpoint file of a model name or path.

    `tiny.en` comes from the pinned package; any other name is fetched by openai-whisper itself.
    """
    if name == packaged_whisper.NAME:
        return packaged_whisper.checkpoint()
    path = Path(name).expanduser()
    if path.is_file():
        return path
    import whisper

    if name not in whisper.available_models():
        raise UserError(
            f"asr.model: {name!r} is neither a file nor a Whisper model; "
            f"choose one of {', '.join(whisper.available_models())}"
        )
    root = cache_folder()
    try:
        whisper._download(whisper._MODELS[name], str(root), False)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"asr.model: {name!r} could not be fetched ({error}); name a file"
        ) from error
    return root / f"{name}.pt"


class WhisperTranscriber:
    """A Whisper model on one device."""

    def __init__(self, spec: WhisperAsr, device: str) -> None:
        half = spec.half(device)
        import whisper

        # openai-whisper's own loader unpickles with weights_only and takes a file.
        self.model = whisper.load_model(str(spec.locate()), device=device)
        self.options = whisper.DecodingOptions(
            language="en",
            temperature=0.0,
            beam_size=spec.beam_size,
            without_timestamps=True,
            fp16=half,
        )

    def transcribe(self, waves: Sequence[Wave]) -> list[Transcription]:
        """See Transcriber."""
        import torch
        import whisper

        if not waves:
            return []
        # Whisper clamps a spectrogram to its batch's maximum: taken a clip at a time, a
        # transcript does not depend on its neighbours.
        mels = [
            whisper.log_mel_spectrogram(whisper.pad_or_trim(wave), self.model.dims.n_mels)
            for wave in waves
        ]
        batch = torch.stack(mels).to(self.model.device)
        if self.options.fp16:
            batch = batch.half()
        with torch.inference_mode():
            results = whisper.decode(self.model, batch, self.options)
        return [
            Transcription(r.text, r.no_speech_prob, r.avg_logprob, r.compression_ratio)
            for r in results
        ]
