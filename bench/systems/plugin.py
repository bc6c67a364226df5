"""A system of the user's own: any Python class that turns an item into sound.

    class Mine:
        def __init__(self, device: str, **options): ...
        def speak(self, image: pathlib.Path, item: str) -> tuple[numpy.ndarray, int]: ...

`speak` gives mono samples `[T]` in -1..1 and their rate in Hz. What it raises fails that item.
"""

import importlib
import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np

from bench.audio import SpeechError
from bench.datasets.types import Item
from bench.errors import UserError
from bench.rows import Spoken
from bench.systems.specs import PythonSpec
from bench.systems.types import EachItem, Variant
from bench.text import reason_of


def source_of(spec: PythonSpec) -> Path:
    """The file of the class's module; raises UserError where there is none."""
    module = spec.entry.split(":")[0]
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        found = None
    if found is None or found.origin is None:
        raise UserError(f"{spec.label}: no module {module!r}; install it, or set PYTHONPATH")
    return Path(found.origin)


def _flac(wave: "np.ndarray[Any, Any]", rate: int) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(wave, -1, 1), rate, subtype="PCM_16", format="FLAC")
    return buffer.getvalue()


class PythonSpeaker(EachItem):
    """Holds one instance of the user's class."""

    def __init__(self, spec: PythonSpec, device: str) -> None:
        module, name = spec.entry.split(":")
        self.system = getattr(importlib.import_module(module), name)(device=device, **spec.options)

    def one(self, item: Item, variant: Variant) -> Spoken:
        """A row that holds the sound as FLAC, 16 bits."""
        try:
            wave, rate = self.system.speak(item.image, item.id)
            wave = np.asarray(wave, dtype=np.float32)
        except Exception as error:
            # Whatever the user's code raises is that item's failure, with its reason.
            raise SpeechError(reason_of(error)) from error
        if wave.ndim != 1 or wave.size == 0 or not np.isfinite(wave).all():
            raise SpeechError(f"samples of shape {wave.shape}; finite mono [T] is wanted")
        return Spoken(item.id, "ok", audio=_flac(wave, int(rate)))
