"""Sounds and pictures in a page: small, as base64, each stored once."""

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
"""The sample rate in Hz: that of the codecs, which MP3 supports."""
_SMALL = 0.9
"""libsndfile's compression level: about 4 KB a second, without audible loss."""
PEAKS = 96
"""Points of a waveform."""
_PICTURES_AT_ONCE = 2
SIDE, _QUALITY = 320, 70
"""Pixels of a picture's longer side, and WebP's quality."""


@dataclass(frozen=True)
class Medium:
    """A sound or picture as base64; a sound also has seconds, and peaks as hexadecimal pairs."""

    data: str
    mime: str
    seconds: float = 0.0
    peaks: str = ""


@dataclass
class Media:
    """All media of a page, by the digest of their content."""

    held: dict[str, Medium] = field(default_factory=dict)

    def add(self, medium: Medium | None) -> str:
        """Adds a medium; returns its name, "" for None."""
        if medium is None:
            return ""
        name = hashlib.sha256(medium.data.encode()).hexdigest()[:16]
        self.held.setdefault(name, medium)
        return name

    @property
    def bytes(self) -> int:
        """The size of all media in a page, in bytes."""
        return sum(len(medium.data) for medium in self.held.values())


def _peaks(wave: Wave) -> str:
    """Returns the loudest sample of each of PEAKS intervals, 00 to ff; ff is the loudest of all."""
    edges = np.linspace(0, len(wave), PEAKS + 1).astype(int)
    loud = np.array([np.abs(wave[a : max(b, a + 1)]).max() for a, b in pairwise(edges)])
    return (255 * loud / max(float(loud.max()), 1e-6)).round().astype(np.uint8).tobytes().hex()


def sound(wave: Wave) -> Medium:
    """Returns speech `[T]` at RATE as MP3."""
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
    """Returns speech files as MP3; None for each that is missing or cannot be read."""
    # libsndfile and soxr release the interpreter's lock.
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
    """Returns pictures as small WebP; None for each that a model cannot read either."""
    # The largest picture that is read takes 0.6 GB when it is unpacked.
    with ThreadPoolExecutor(_PICTURES_AT_ONCE) as pool:
        return list(pool.map(_picture_of, paths))
