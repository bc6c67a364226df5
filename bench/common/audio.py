"""Speech files and sample rates."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.common.atomic import write_bytes
from pixvox.errors import PixVoxError

Wave = npt.NDArray[np.float32]


class SpeechError(PixVoxError, ValueError):
    """Speech of one item that cannot be used; the message says why."""


RATES = range(1_000, 655_351)
"""Sample rates in Hz that speech may have, up to FLAC's highest; others are a damaged header."""
LONGEST_SECONDS = 900
LOUDEST = 100.0
"""The largest sample that speech may have: 40 dB over full scale, which is 1.

Floating-point mixes go over full scale by a few dB. What is far above are integers that were not
scaled, or no sound at all, of which an ASR would make some transcript nevertheless.
"""
MOST_CHANNELS = 64


def unusable_samples(wave: "npt.NDArray[np.generic]") -> str:
    """Why samples `[T, ...]` in -1..1 cannot be speech; "" where they can."""
    if wave.size == 0:
        return "holds no samples"
    if not np.isfinite(wave).all():
        return "holds samples that are not numbers"
    loudest = float(np.abs(wave).max())
    if loudest > LOUDEST:
        return f"holds a sample of {loudest:g}, and full scale is 1; scale the samples to -1..1"
    return ""


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
            if file.channels > MOST_CHANNELS:
                raise SpeechError(f"{path.name}: {file.channels} channels; mono is wanted")
            wave = file.read(dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, ValueError, TypeError) as error:
        if isinstance(error, SpeechError):
            raise
        raise SpeechError(f"{path.name}: not readable as speech ({error})") from error
    reason = unusable_samples(wave)
    if reason:
        raise SpeechError(f"{path.name}: {reason}")
    mono = np.asarray(wave.mean(axis=1), dtype=np.float32)
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


def wav_bytes(wave: Wave, rate: int) -> bytes:
    """A WAV file of 16-bit PCM that any player plays; what is louder than full scale is clipped."""
    import io

    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(wave, -1, 1), rate, subtype="PCM_16", format="WAV")
    return buffer.getvalue()


def write_wav(path: Path, wave: Wave, rate: int) -> None:
    """Writes `wav_bytes`; raises OSError where that is not possible."""
    write_bytes(path, wav_bytes(wave, rate))
