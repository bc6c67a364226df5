"""A system of the user's own: any Python class that turns an item into sound.

    class Mine:
        def __init__(self, device: str, **options): ...
        def generate(self, image: pathlib.Path, item: str) -> tuple[numpy.ndarray, int]: ...

`generate` gives mono samples `[T]` in -1..1 and their rate in Hz. What it raises fails that item.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from bench.common.audio import LONGEST_SECONDS, RATES, SpeechError, unusable_samples
from bench.common.bounds import Label, Note, Option
from bench.common.entries import Entry, check_class, instantiate, source_of
from bench.common.machinefaults import is_machines
from bench.common.text import reason_of
from bench.datasets.base import Item
from bench.store.rows import SpeechRow
from bench.systems.base import Content, EachItem, Generator, Lookup, System, Variant
from bench.systems.sound import flac
from pixvox.digests import file_digest


class PythonSystem(System):
    """A class of your own (see bench.systems.python)."""

    kind: Literal["python"]
    label: Label
    entry: Entry
    """The class, `package.module:Class`."""
    options: dict[str, Option] = Field(default_factory=dict)
    """Keyword arguments of the class."""
    version: Note = ""
    """Part of the speech's key, beside the module's source: change it when something else that the
    class depends on has changed."""
    training: Note = "unknown"
    """The entry in the tables' column `training`, such as `single model`."""

    needs_images: ClassVar[bool] = True
    uses_gpu: ClassVar[bool] = True

    def generator(self, device: str) -> Generator:
        return PythonGenerator(self, device)

    def content(self, lookup: Lookup) -> Content:
        source = file_digest(source_of(self.entry, self.label))[:16]
        return Content(depends=self.model_dump(exclude={"label", "training"}) | {"source": source})

    def entries(self) -> Sequence[str]:
        return (self.entry,)

    def check(self) -> None:
        options = {"device": ""} | self.options
        takes = "image, item"
        check_class(self.entry, self.label, method="generate", takes=takes, options=options)


def checked_rate(rate: object) -> int:
    """Returns a sample rate in Hz as an int; raises SpeechError for an invalid one."""
    if isinstance(rate, bool | np.bool_) or not isinstance(rate, int | np.integer):
        raise SpeechError(f"a sample rate of {str(rate)[:40]}; it must be a whole number in Hz")
    if int(rate) not in RATES:
        # Python refuses to format an integer of thousands of digits.
        given = f"{int(rate)} Hz" if abs(int(rate)) < 10**20 else "more than 20 digits"
        raise SpeechError(f"a sample rate of {given}; it must be from {RATES[0]} to {RATES[-1]} Hz")
    return int(rate)


class PythonGenerator(EachItem):
    """Holds one instance of the user's class."""

    def __init__(self, spec: PythonSystem, device: str) -> None:
        self.system = instantiate(spec.entry, spec.label, {"device": device} | spec.options)

    def generate_item(self, item: Item, variant: Variant) -> SpeechRow:
        """Returns a row that holds the sound as FLAC, 16 bits."""
        try:
            wave, rate = self.system.generate(item.image, item.id)
            wave = np.asarray(wave, dtype=np.float32)
        except Exception as error:
            if is_machines(error, reason_of(error)):
                raise
            # Any other exception of the user's code is the reason of a failed row.
            raise SpeechError(reason_of(error)) from error
        if wave.ndim != 1:
            raise SpeechError(f"samples of shape {wave.shape}; they must be mono, [T]")
        reason = unusable_samples(wave)
        if reason:
            raise SpeechError(f"what it gave {reason}")
        hertz = checked_rate(rate)
        if len(wave) > LONGEST_SECONDS * hertz:
            raise SpeechError(f"longer than {LONGEST_SECONDS} s")
        return SpeechRow(item=item.id, status="ok", audio=flac(wave, hertz))
