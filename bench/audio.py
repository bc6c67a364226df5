"""Speech files and sample rates."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

Wave = npt.NDArray[np.float32]


class SpeechError(ValueError):
    """Speech of one item that cannot be used; the message says why."""


RATES = range(1_000, 768_001)
"""Sample rates in Hz that speech may have; others are a damaged header."""
LONGEST_SECONDS = 900


def read_speech(path: Path, rate: int) -> Wave:
    """A speech file as mono float32 `[T]` at `rate` Hz; raises SpeechError naming the reason."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            found, frames = file.samplerate, file.frames
            if found not in RATES:
                raise SpeechError(f"{path.name}: a sample rate of {found} Hz")
            if frames > LONGEST_SECONDS * found:
                raise SpeechError(f"{path.name}: longer than {LONGEST_SECONDS} s")
            wave = file.read(dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, ValueError, TypeError) as error:
        if isinstance(error, SpeechError):
            raise
        raise SpeechError(f"{path.name}: not readable as speech ({error})") from error
    if wave.shape[0] == 0:
        raise SpeechError(f"{path.name}: holds no samples")
    mono = np.asarray(wave.mean(axis=1), dtype=np.float32)
    if not np.isfinite(mono).all():
        raise SpeechError(f"{path.name}: holds samples that are not numbers")
    speech = resample(mono, found, rate)
    if speech.size == 0:
        raise SpeechError(f"{path.name}: too short, {len(mono)} samples at {found} Hz")
    return speech


def resample(wave: Wave, source: int, target: int) -> Wave:
    """`[T]` from one rate in Hz to another (soxr, high quality)."""
    if source == target:
        return wave
    import soxr

    return np.asarray(soxr.resample(wave, source, target), dtype=np.float32)


def write_wav(path: Path, wave: Wave, rate: int) -> None:
    """Writes 16-bit PCM that any player plays; what is louder than full scale is clipped.

    Raises OSError where it cannot be written.
    """
    import io

    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(wave, -1, 1), rate, subtype="PCM_16", format="WAV")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())
