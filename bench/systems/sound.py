"""Sound in a row of the ledger: FLAC, 16 bits."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.common.audio import SpeechError, Wave

if TYPE_CHECKING:
    from bench.store.rows import SpeechRow


def flac(wave: "np.ndarray[Any, Any]", rate: int) -> bytes:
    """Returns samples `[T]` in -1..1 as FLAC; raises SpeechError for a rate that FLAC lacks."""
    import soundfile

    buffer = io.BytesIO()
    try:
        soundfile.write(buffer, np.clip(wave, -1, 1), rate, subtype="PCM_16", format="FLAC")
    except soundfile.SoundFileError as error:
        raise SpeechError(
            f"{len(wave)} samples at {rate} Hz cannot be stored as FLAC ({error})"
        ) from error
    return buffer.getvalue()


def read_flac(row: "SpeechRow") -> tuple[Wave, int]:
    """Returns a row's samples `[T]` and their rate in Hz."""
    import soundfile

    wave, rate = soundfile.read(io.BytesIO(row.audio), dtype="float32")
    return np.asarray(wave, dtype=np.float32), int(rate)
