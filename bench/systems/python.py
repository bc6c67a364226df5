"""A system of the user's own: any Python class that turns an item into sound.

    class Mine:
        def __init__(self, device: str, **options): ...
        def generate(self, image: pathlib.Path, item: str) -> tuple[numpy.ndarray, int]: ...

`generate` gives mono samples `[T]` in -1..1 and their rate in Hz. What it raises fails that item.
"""

import io
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from bench.common.audio import LONGEST_SECONDS, RATES, SpeechError, unusable_samples
from bench.common.bounds import Label, Note, Option
from bench.common.entries import Entry, made, source_of
from bench.common.errors import UserError
from bench.common.text import reason_of
from bench.datasets.base import Item
from bench.store.rows import SpeechRow
from bench.systems.base import Content, EachItem, Generator, Lookup, System, Variant
from pixvox.digests import file_digest


class PythonSystem(System):
    """A class of the user's own, `package.module:Class` (see bench.systems.python).

    `version` is part of the cell's key, as is the module's source: raise it when what the class
    depends on has changed.
    """

    kind: Literal["python"]
    label: Label
    entry: Entry
    options: dict[str, Option] = Field(default_factory=dict)
    version: Note = ""
    training: Note = "unknown"

    needs_images: ClassVar[bool] = True

    def generator(self, device: str) -> Generator:
        """See System."""
        return PythonGenerator(self, device)

    def content(self, lookup: Lookup) -> Content:
        """See System."""
        source = file_digest(source_of(self.entry, self.label))[:16]
        return Content(self.model_dump(exclude={"label", "training"}) | {"source": source})

    def check(self) -> None:
        """See System."""
        check_entry(self)


_CHECK = """
import importlib, sys
module, name = sys.argv[1:]
try:
    found = getattr(importlib.import_module(module), name, None)
except BaseException as error:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    sys.exit(f"{module} cannot be imported ({reason})")
if found is None:
    sys.exit(f"{module} has no {name}")
if not callable(found) or not callable(getattr(found, "generate", None)):
    sys.exit(f"{module}.{name} is no class with a method generate(image, item)")
"""
_SECONDS = 300


def check_entry(spec: PythonSystem) -> None:
    """Imports the class's module in a process of its own, before any actor is started.

    Raises UserError where that fails or there is no such class: what the module does when it is
    imported, exiting included, is then one line and leaves this process as it was.
    """
    import subprocess
    import sys

    source_of(spec.entry, spec.label)
    command = [sys.executable, "-c", _CHECK, *spec.entry.split(":")]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"{spec.label}: {spec.entry} was not imported within {_SECONDS} s; fix it"
        ) from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it ended"]
        raise UserError(f"{spec.label}: {said[0][:300]}; fix {spec.entry}")


def checked_rate(rate: object) -> int:
    """A sample rate in Hz as an int; raises SpeechError for what none can be."""
    if isinstance(rate, bool | np.bool_) or not isinstance(rate, int | np.integer):
        raise SpeechError(f"a sample rate of {str(rate)[:40]}; a whole number in Hz is wanted")
    if int(rate) not in RATES:
        # Python refuses to write a number of thousands of digits.
        given = f"{int(rate)} Hz" if abs(int(rate)) < 10**20 else "more than 20 digits"
        raise SpeechError(f"a sample rate of {given}; it is from {RATES[0]} to {RATES[-1]} Hz")
    return int(rate)


def _flac(wave: "np.ndarray[Any, Any]", rate: int) -> bytes:
    import soundfile

    buffer = io.BytesIO()
    try:
        soundfile.write(buffer, np.clip(wave, -1, 1), rate, subtype="PCM_16", format="FLAC")
    except soundfile.SoundFileError as error:
        raise SpeechError(f"{len(wave)} samples at {rate} Hz cannot be kept ({error})") from error
    return buffer.getvalue()


class PythonGenerator(EachItem):
    """Holds one instance of the user's class."""

    def __init__(self, spec: PythonSystem, device: str) -> None:
        self.system = made(spec.entry, spec.label, device=device, **spec.options)

    def one(self, item: Item, variant: Variant) -> SpeechRow:
        """A row that holds the sound as FLAC, 16 bits."""
        try:
            wave, rate = self.system.generate(item.image, item.id)
            wave = np.asarray(wave, dtype=np.float32)
        except Exception as error:
            # Whatever the user's code raises is that item's failure, with its reason.
            raise SpeechError(reason_of(error)) from error
        if wave.ndim != 1:
            raise SpeechError(f"samples of shape {wave.shape}; mono [T] is wanted")
        reason = unusable_samples(wave)
        if reason:
            raise SpeechError(f"what it gave {reason}")
        hertz = checked_rate(rate)
        if len(wave) > LONGEST_SECONDS * hertz:
            raise SpeechError(f"longer than {LONGEST_SECONDS} s")
        return SpeechRow(item.id, "ok", audio=_flac(wave, hertz))
