"""Speech files and sample rates."""

from pathlib import Path

import numpy as np

from bench.common.atomic import write_bytes
from pixvox.speechfile import LONGEST_SECONDS as LONGEST_SECONDS
from pixvox.speechfile import LOUDEST as LOUDEST
from pixvox.speechfile import RATES as RATES
from pixvox.speechfile import SpeechError as SpeechError
from pixvox.speechfile import Wave as Wave
from pixvox.speechfile import read_speech as read_speech
from pixvox.speechfile import resample as resample
from pixvox.speechfile import unusable_samples as unusable_samples


def wav_bytes(wave: Wave, rate: int) -> bytes:
    """Returns samples `[T]` as a WAV file of 16-bit PCM; values outside -1..1 are clipped."""
    import io

    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(wave, -1, 1), rate, subtype="PCM_16", format="WAV")
    return buffer.getvalue()


def write_wav(path: Path, wave: Wave, rate: int) -> None:
    """Writes `wav_bytes` to a file; raises OSError."""
    write_bytes(path, wav_bytes(wave, rate))
