"""One speech as text, for Python: what `Speech.transcribe` of the model calls."""

from functools import lru_cache

from bench.asr.base import MAX_SECONDS, SAMPLE_RATE, Transcriber
from bench.asr.whisper import WhisperAsr
from bench.common.audio import SpeechError, Wave
from bench.common.errors import UserError
from pixvox.speechfile import resample


def transcribe(wave: Wave, rate: int, model: str = "tiny.en") -> str:
    """Returns the transcript of speech `[T]` at a rate in Hz, by a model of openai-whisper.

    Decoding is as in a job, but the batches of a job may round differently. Raises SpeechError
    for speech that is empty or longer than MAX_SECONDS, and UserError for a missing model.
    """
    seconds = len(wave) / rate
    if not 0 < seconds <= MAX_SECONDS:
        raise SpeechError(f"{seconds:.2f} s of speech; up to {MAX_SECONDS:g} s are transcribed")
    [transcription] = _transcriber(model).transcribe([resample(wave, rate, SAMPLE_RATE)])
    return transcription.transcript.strip()


@lru_cache(maxsize=1)
def _transcriber(model: str) -> Transcriber:
    """Kept from speech to speech: it takes longer to load than to transcribe."""
    if not model.strip():
        raise UserError("model: empty; name a Whisper model, such as tiny.en, or a file")
    return WhisperAsr(model=model, batch=1).transcriber("cpu", 1)
