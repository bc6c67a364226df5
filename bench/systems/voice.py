"""From a row of the ledger to sound, where it is transcribed."""

from typing import TYPE_CHECKING

import numpy as np

from bench.common.audio import SpeechError, Wave
from bench.store.rows import SpeechRow, ToTranscribe
from bench.systems.base import System
from bench.systems.sound import read_flac

if TYPE_CHECKING:
    from pixvox.codec.encodec import Codec


class Voice:
    """Makes sound of rows; keeps the codecs that it has needed."""

    def __init__(self) -> None:
        self.codecs: dict[tuple[str, float], Codec] = {}

    def _codec(self, system: System) -> "Codec":
        from pixvox.codec.encodec import Codec

        key = system.codec_of()
        if key is None:
            raise SpeechError("there are units, and no codec that they are of")
        if key not in self.codecs:
            self.codecs[key] = Codec.load(*key)
        return self.codecs[key]

    def speech(self, system: System, entry: ToTranscribe) -> tuple[Wave, int]:
        """A row's whole speech `[T]` and its rate in Hz; raises SpeechError or UnitsError."""
        row = entry.row
        if row.units:
            import torch

            codec = self._codec(system)
            units = torch.from_numpy(row.array.astype(np.int64))
            return codec.decode(units), codec.sample_rate
        return read_flac(row) if row.audio else system.sound(entry)


def continuation(wave: Wave, row: SpeechRow) -> Wave:
    """What follows the prompt; raises SpeechError where nothing does."""
    frames = row.array.shape[1]
    after = wave[round(row.prompt_frames * len(wave) / frames) :]
    if after.size == 0:
        raise SpeechError("nothing follows the prompt")
    return after
