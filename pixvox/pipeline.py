"""Speech from a picture: the model, its processor and its codec in one."""

import base64
import html
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pixvox.codec.facts import fitting_codec
from pixvox.configfile import pixvox_config
from pixvox.images import Picture
from pixvox.modeling import PixVoxLM
from pixvox.processing import PixVoxProcessor
from pixvox.shapes import check_fit, shapes_of, tensor_shapes
from pixvox.speechfile import Wave, read_speech, resample
from pixvox.transcribing import transcriber
from pixvox.weights import resolve

TEMPERATURE = 0.5
"""The default temperature: with greedy decoding, some patterns fall into loops."""


@dataclass(frozen=True, repr=False)
class Speech:
    """A waveform `[T]` at `rate` Hz, and whether the model ended it before the maximum length.

    Unpacks as `wave, rate = speech`. It was decoded from `units` `[K, N]`. Notebooks show a player.
    """

    wave: Wave
    rate: int
    ended: bool
    units: Tensor

    def __iter__(self) -> Iterator[Any]:
        return iter((self.wave, self.rate))

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        return len(self.wave) / self.rate

    def __repr__(self) -> str:
        end = "ended" if self.ended else "cut off at the maximum length"
        return f"Speech({self.seconds:.2f} s at {self.rate} Hz, {end})"

    def _repr_html_(self) -> str:
        """Returns a player and the speech's length, for notebooks; nothing is downloaded."""
        words = html.escape(repr(self))
        if not self.wave.size:
            return words
        file = io.BytesIO()
        self._write(file)
        sound = base64.b64encode(file.getvalue()).decode()
        return f'<audio controls src="data:audio/wav;base64,{sound}"></audio><br>{words}'

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a 16-bit WAV file; samples beyond full scale are clipped."""
        self._write(os.fspath(path), format=None)

    def _write(self, file: "str | io.BytesIO", format: str | None = "WAV") -> None:
        import soundfile

        samples = np.clip(self.wave, -1, 1)
        soundfile.write(file, samples, self.rate, "PCM_16", format=format)

    def transcribe(self, model: str = "tiny.en") -> str:
        """Returns the transcript by an ASR that `pixvox.transcribing` finds; `model` is its name.

        Raises ImportError if no installed package transcribes, and PixVoxError for a model that it
        cannot load and for speech that it cannot transcribe.
        """
        return transcriber()(self.wave, self.rate, model)


@dataclass(frozen=True)
class ImageToSpeech:
    """A PixVoxLM with its processor, as returned by `load`."""

    model: PixVoxLM
    processor: PixVoxProcessor

    def speak(
        self, image: Picture, prompt: "Prompt | None" = None, item: str | None = None, **how: Any
    ) -> Speech:
        """Returns the speech of one picture, as `speak_all`; raises ValueError if it is empty."""
        [speech] = self.speak_all([image], prompt, None if item is None else [item], **how)
        if not speech.wave.size:
            raise ValueError(
                f"{name_of(image) or 'the picture'}: the model ended before it generated anything; "
                "try another seed or temperature"
            )
        return speech

    def speak_all(
        self,
        images: Sequence[Picture],
        prompt: "Prompt | None" = None,
        items: Sequence[str] | None = None,
        **how: Any,
    ) -> list[Speech]:
        """Returns the speech of each picture; it is empty if the model ends before it starts.

        `prompt`, a file or a waveform at the codec's rate (or with its own rate), is the start of
        the speech; it must leave room for more. `how` has options of PixVoxLM.generate: temperature
        (default 0.5, 0 is greedy), top_k, top_p, seed (0), max_seconds (6.0), ... Noise is keyed by
        `items`; by default by the names of files without their suffixes, like the items of the
        suite's datasets.

        Raises ImageError for a picture and ValueError for an option or prompt that cannot be used.
        """
        names = [name_of(image) for image in images] if items is None else items
        pixels = self.processor(images)["pixel_values"]
        units = None if prompt is None else self.prompt_units(prompt)
        sampled = {"temperature": TEMPERATURE} if "do_sample" not in how else {}
        speeches = self.model.generate(pixels, prompt=units, items=names, **sampled | how)
        waves = self.processor.batch_decode(speeches.units, speeches.lengths.cpu())
        return [
            Speech(wave, self.processor.sample_rate, bool(ended), units[:, : int(frames)])
            for wave, units, frames, ended in zip(
                waves,
                speeches.units.cpu(),
                speeches.lengths.cpu(),
                speeches.ended.cpu(),
                strict=True,
            )
        ]

    def prompt_units(self, prompt: "Prompt") -> Tensor:
        """Returns a prompt's units `[K, P]`; raises ValueError if it is not mono speech."""
        return self.processor.encode(_wave(prompt, self.processor.sample_rate))


Prompt = str | os.PathLike[str] | Wave | tuple[Wave, int] | Speech
"""A file, a waveform at the codec's rate, or a waveform with its own rate in Hz."""


def name_of(image: Picture) -> str:
    """Returns the key of a picture's noise: its file's stem, "" without a file."""
    return Path(image).stem if isinstance(image, str | os.PathLike) else ""


def _wave(prompt: Prompt, rate: int) -> Wave:
    """Returns a prompt as mono float32 `[T]` at `rate` Hz; raises ValueError."""
    source = rate
    if isinstance(prompt, str | os.PathLike):
        wave = read_speech(Path(prompt), rate)
    elif isinstance(prompt, Speech | tuple):
        wave, source = prompt
    else:
        wave = prompt
    wave = np.asarray(wave)
    if wave.ndim != 1 or not wave.size or wave.dtype.kind != "f" or not np.isfinite(wave).all():
        raise ValueError(
            f"a prompt of {wave.dtype} {list(wave.shape)}; give finite samples [T] in -1..1"
        )
    return np.asarray(resample(wave, source, rate), np.float32)


def load(
    name: str | os.PathLike[str], device: str = "cpu", codec: str | None = None
) -> ImageToSpeech:
    """Returns a PixVoxLM by `zoo:NAME`, a folder or a hub id, ready to generate.

    `codec` is the path of its codec, if that is not found by its name in the model. Raises
    WeightsError, with the fix, for weights or a codec that are missing or do not fit.
    """
    folder = resolve(os.fspath(name))
    config = pixvox_config(folder)
    codec_name, _ = fitting_codec(str(name), config, codec)
    check_fit(folder, tensor_shapes(folder), shapes_of(PixVoxLM, config))
    model = PixVoxLM.from_pretrained(folder).eval().to(device)
    processor = PixVoxProcessor.of(config)
    processor.codec = codec_name
    return ImageToSpeech(model, processor)
