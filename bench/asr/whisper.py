"""openai-whisper as the transcriber: greedy, without fallback, one clip's text for one clip."""

from collections.abc import Sequence
from pathlib import Path

import torch

from bench.asr import packaged_whisper
from bench.asr.base import Transcription
from bench.common.audio import Wave
from bench.common.errors import UserError

PROTOCOL = 1
"""Raised when a change here changes transcripts; part of every transcript's key."""


def locate(name: str) -> Path:
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
    root = packaged_whisper.cache_folder()
    try:
        whisper._download(whisper._MODELS[name], str(root), False)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"asr.model: {name!r} could not be fetched ({error}); name a file"
        ) from error
    return root / f"{name}.pt"


class WhisperTranscriber:
    """A Whisper model on one device, in float16 if `half`."""

    def __init__(
        self, checkpoint: Path, device: str, beam_size: int | None = None, half: bool = False
    ) -> None:
        import whisper

        # openai-whisper's own loader unpickles with weights_only and takes a file.
        self.model = whisper.load_model(str(checkpoint), device=device)
        self.options = whisper.DecodingOptions(
            language="en",
            temperature=0.0,
            beam_size=beam_size,
            without_timestamps=True,
            fp16=half,
        )

    @torch.inference_mode()
    def transcribe(self, waves: Sequence[Wave]) -> list[Transcription]:
        """Transcribes clips `[T]` at 16 kHz, at most 30 s each, as one batch."""
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
        results = whisper.decode(self.model, batch, self.options)
        return [
            Transcription(r.text, r.no_speech_prob, r.avg_logprob, r.compression_ratio)
            for r in results
        ]
