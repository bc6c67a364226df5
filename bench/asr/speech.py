"""Transcribes a single speech from Python, for the model's `Speech.transcribe`."""

from functools import lru_cache

from bench.asr.base import MAX_SECONDS, SAMPLE_RATE, Transcriber
from bench.asr.whisper import WhisperAsr
from bench.common.audio import SpeechError, Wave
from bench.common.errors import UserError
from pixvox.speechfile import resample


def transcribe(wave: Wave, rate: int, model: str = "tiny.en") -> str:
    """Returns the transcript of speech `[T]` at a rate in Hz, by a model of openai-whisper.

    Decoding is as in a job, whose batches may round differently. Raises SpeechError for speech that
    is empty or longer than MAX_SECONDS, and UserError for a missing model.
    """
    seconds = len(wave) / rate
    if not 0 < seconds <= MAX_SECONDS:
        raise SpeechError(f"{seconds:.2f} s of speech; up to {MAX_SECONDS:g} s are transcribed")
    [transcription] = _transcriber(model).transcribe([resample(wave, rate, SAMPLE_RATE)])
    return transcription.transcript.strip()


@lru_cache(maxsize=1)
def _transcriber(model: str) -> Transcriber:
    """Returns the model's transcriber, cached because loading takes longer than transcribing."""
    if not model.strip():
        raise UserError("model: empty; name a Whisper model, such as tiny.en, or a file")
    return WhisperAsr(model=model, batch=1).transcriber("cpu", 1)
