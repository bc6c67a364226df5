"""Speech files and sample rates."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

Wave = npt.NDArray[np.float32]


class SpeechError(ValueError):
    """Speech of one item that cannot be used; the message says why."""


def read_speech(path: Path, rate: int) -> Wave:
    """A speech file as mono float32 `[T]` at `rate` Hz; raises SpeechError naming the reason."""
    import soundfile

    try:
        wave, found = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise SpeechError(f"{path.name}: not readable as speech ({error})") from error
    if wave.shape[0] == 0:
        raise SpeechError(f"{path.name}: holds no samples")
    mono = np.asarray(wave.mean(axis=1), dtype=np.float32)
    if not np.isfinite(mono).all():
        raise SpeechError(f"{path.name}: holds samples that are not numbers")
    return resample(mono, found, rate)


def resample(wave: Wave, source: int, target: int) -> Wave:
    """`[T]` from one rate in Hz to another (soxr, high quality)."""
    if source == target:
        return wave
    import soxr

    return np.asarray(soxr.resample(wave, source, target), dtype=np.float32)


def write_wav(path: Path, wave: Wave, rate: int) -> None:
    """Writes 16-bit PCM that any player plays; what is louder than full scale is clipped."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(wave, -1, 1), rate, subtype="PCM_16", format="WAV")
