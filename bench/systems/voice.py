"""Converts rows of the ledger to sound, where they are transcribed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from bench.common.audio import SpeechError, Wave
from bench.store.rows import SpeechRow, ToTranscribe
from bench.systems.base import System
from bench.systems.sound import read_flac
from pixvox.errors import UnitsError

if TYPE_CHECKING:
    from torch import Tensor

    from pixvox.codec.encodec import Codec

Sound: TypeAlias = tuple[Wave, int]
"""Speech `[T]`, and its rate in Hz."""


class Voice:
    """Decodes rows to sound on a device; caches the codecs that it has loaded."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.codecs: dict[tuple[str, float], Codec] = {}

    def _codec(self, system: System) -> "Codec":
        from pixvox.codec.encodec import Codec

        key = system.codec_of()
        if key is None:
            raise SpeechError("there are units but no codec")
        if key not in self.codecs:
            self.codecs[key] = Codec.load(*key, device=self.device)
        return self.codecs[key]

    def speech(self, system: System, entry: ToTranscribe) -> Sound:
        """Returns a row's whole speech; raises SpeechError or UnitsError."""
        [sounding] = self.speeches(system, [entry])
        if isinstance(sounding, SpeechError | UnitsError):
            raise sounding
        return sounding

    def speeches(
        self, system: System, entries: Sequence[ToTranscribe]
    ) -> list[Sound | SpeechError | UnitsError]:
        """Returns each row's whole speech or its error; units of all rows are decoded together."""
        sounds: dict[int, Sound | SpeechError | UnitsError] = {}
        coded: dict[int, Tensor] = {}
        for place, entry in enumerate(entries):
            try:
                if entry.row.units:
                    coded[place] = self._units(system, entry.row)
                else:
                    row = entry.row
                    sounds[place] = read_flac(row) if row.audio else system.sound(entry)
            except (SpeechError, UnitsError) as error:
                sounds[place] = error
        if coded:
            codec = self._codec(system)
            waves = codec.decode_all(list(coded.values()))
            sounds |= {
                place: (wave, codec.sample_rate) for place, wave in zip(coded, waves, strict=True)
            }
        return [sounds[place] for place in range(len(entries))]

    def _units(self, system: System, row: SpeechRow) -> "Tensor":
        """Returns a row's units `[K, N]`, which the system's codec can decode."""
        import torch

        units = torch.from_numpy(row.array.astype(np.int64))
        self._codec(system).check(units)
        return units


def continuation(wave: Wave, row: SpeechRow) -> Wave:
    """Returns the speech after the prompt; raises SpeechError if there is none."""
    frames = row.array.shape[1]
    after = wave[round(row.prompt_frames * len(wave) / frames) :]
    if after.size == 0:
        raise SpeechError("nothing follows the prompt")
    return after
