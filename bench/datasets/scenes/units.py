"""Computes the units of a split's speech from Piper's samples, before the speech is stored."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from bench.datasets.scenes.build import encode_speech
from bench.datasets.scenes.load import read_scenes
from bench.datasets.scenes.speech import speak
from bench.datasets.storedunits import UNITS, write_units
from pixvox.codec.encodec import Codec


def build_units(folder: Path, name: str, bandwidth: float) -> Iterator[tuple[int, int]]:
    """Speaks every caption with speech again and stores its units; yields (finished, all).

    Speech is rounded to 16 bits first, as in a training split. Raises WeightsError for a codec that
    cannot be loaded.
    """
    codec = Codec.load(name, bandwidth)
    items = read_scenes(folder)
    spoken = [c for item in items for c in item.captions if c.speech is not None]
    units = {}
    for number, caption in enumerate(spoken, 1):
        assert caption.speech is not None
        wave, _ = soundfile.read(
            io.BytesIO(encode_speech(speak(caption.text), False)), dtype="float32"
        )
        units[caption.speech.stem] = codec.encode(wave).numpy().astype(np.int16)
        yield number, len(spoken)
    write_units(folder / UNITS, codec.digest, units)
