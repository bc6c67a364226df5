"""Speech and pictures as a page holds them: small, as text, each once however often it is used."""

import base64
import hashlib
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

from bench.common.audio import SpeechError, Wave, read_speech

RATE = 24_000
"""Hz at which speech is kept: that of the codecs, and one that MP3 has."""
_SMALL = 0.9
"""Libsndfile's compression level: about 4 KB a second, without a loss that ears notice."""
PEAKS = 96
"""Points of a waveform."""
_PICTURES_AT_ONCE = 2
SIDE, _QUALITY = 320, 70
"""Pixels of a picture's longer side, and WebP's quality."""


@dataclass(frozen=True)
class Medium:
    """A sound or picture as base64; of a sound its seconds, and its peaks as hexadecimal pairs."""

    data: str
    mime: str
    seconds: float = 0.0
    peaks: str = ""


@dataclass
class Media:
    """All that a page shows and plays, by the digest of its content."""

    held: dict[str, Medium] = field(default_factory=dict)

    def add(self, medium: Medium | None) -> str:
        """Holds a medium; its name, "" where there is none."""
        if medium is None:
            return ""
        name = hashlib.sha256(medium.data.encode()).hexdigest()[:16]
        self.held.setdefault(name, medium)
        return name

    @property
    def bytes(self) -> int:
        """What all of it takes in a page."""
        return sum(len(medium.data) for medium in self.held.values())


def _peaks(wave: Wave) -> str:
    """Returns the loudest sample of each of PEAKS stretches, 00 to ff; ff is the loudest of all."""
    edges = np.linspace(0, len(wave), PEAKS + 1).astype(int)
    loud = np.array([np.abs(wave[a : max(b, a + 1)]).max() for a, b in pairwise(edges)])
    return (255 * loud / max(float(loud.max()), 1e-6)).round().astype(np.uint8).tobytes().hex()


def sound(wave: Wave) -> Medium:
    """Speech `[T]` at RATE as MP3."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(
        buffer,
        np.clip(wave, -1, 1),
        RATE,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=_SMALL,
    )
    data = base64.b64encode(buffer.getvalue()).decode()
    return Medium(data, "audio/mpeg", round(len(wave) / RATE, 2), _peaks(wave))


def _sound_of(path: Path) -> Medium | None:
    try:
        return sound(read_speech(path, RATE))
    except SpeechError:
        return None


def sounds(paths: Iterable[Path]) -> list[Medium | None]:
    """Speech files as MP3, None for each that is not there or cannot be read."""
    # Libsndfile and soxr let other threads work meanwhile.
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_sound_of, paths))


def _picture_of(path: Path) -> Medium | None:
    from pixvox.picturefile import ImageError, load_picture

    try:
        small = load_picture(path)
    except ImageError:
        return None
    small.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=_QUALITY)
    return Medium(base64.b64encode(buffer.getvalue()).decode(), "image/webp")


def pictures(paths: Iterable[Path]) -> list[Medium | None]:
    """Pictures as small WebP, None for each that a model cannot read either."""
    # A picture of the most pixels that are read takes 0.6 GB while it is unpacked.
    with ThreadPoolExecutor(_PICTURES_AT_ONCE) as pool:
        return list(pool.map(_picture_of, paths))
