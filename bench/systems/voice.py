"""From a row of the ledger to sound, in the listener."""

import io

import numpy as np

from bench.audio import SpeechError, Wave, read_speech
from bench.rows import Spoken, ToHear
from bench.systems.floors import sound
from bench.systems.specs import (
    NoiseSpec,
    PixVoxSpec,
    PromptSpec,
    ResynthesisSpec,
    SilenceSpec,
    SystemSpec,
    UnitsSpec,
    WavsSpec,
)
from bench.systems.types import speech_file
from pixvox.codec import Codec

RATE = 16_000
"""Hz; what speech that has no rate of its own is made or read at."""


class Voice:
    """Makes sound of rows; keeps the codecs that it has needed."""

    def __init__(self) -> None:
        self.codecs: dict[tuple[str, float], Codec] = {}

    def _codec(self, system: SystemSpec) -> Codec:
        if isinstance(system, PixVoxSpec):
            from pixvox.configfile import pixvox_config
            from pixvox.weights import resolve

            config = pixvox_config(resolve(system.weights))
            key = (system.codec or config.codec, config.bandwidth)
        else:
            assert isinstance(system, ResynthesisSpec | PromptSpec | UnitsSpec)
            key = (system.codec, system.bandwidth)
        if key not in self.codecs:
            self.codecs[key] = Codec.load(*key)
        return self.codecs[key]

    def speech(self, system: SystemSpec, entry: ToHear) -> tuple[Wave, int]:
        """A row's whole speech `[T]` and its rate in Hz; raises SpeechError or UnitsError."""
        import torch

        row = entry.row
        if row.units:
            codec = self._codec(system)
            units = torch.from_numpy(row.array.astype(np.int64))
            return codec.decode(units), codec.sample_rate
        if row.audio:
            return _read_flac(row)
        if isinstance(system, WavsSpec):
            return read_speech(system.folder / row.file, RATE), RATE
        if isinstance(system, SilenceSpec | NoiseSpec):
            return sound(system, row.item, RATE), RATE
        number = getattr(system, "caption", row.caption)
        return read_speech(speech_file(entry.item, number), RATE), RATE


def _read_flac(row: Spoken) -> tuple[Wave, int]:
    import soundfile

    wave, rate = soundfile.read(io.BytesIO(row.audio), dtype="float32")
    return np.asarray(wave, dtype=np.float32), int(rate)


def continuation(wave: Wave, row: Spoken) -> Wave:
    """What follows the prompt; raises SpeechError where nothing does."""
    frames = row.array.shape[1]
    after = wave[round(row.prompt_frames * len(wave) / frames) :]
    if after.size == 0:
        raise SpeechError("nothing follows the prompt")
    return after
