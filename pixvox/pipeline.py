"""A picture in, speech out: the model, its processor and its codec in one."""

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
"""What speech is drawn at where nothing is said: greedy, some patterns fall into loops."""


@dataclass(frozen=True, repr=False)
class Speech:
    """A waveform `[T]` at `rate` Hz, and whether the model ended it before the longest allowed.

    Unpacks as `wave, rate = speech`. `units` `[K, N]` are what it was decoded from. A notebook
    shows a player.
    """

    wave: Wave
    rate: int
    ended: bool
    units: Tensor

    def __iter__(self) -> Iterator[Any]:
        return iter((self.wave, self.rate))

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.wave) / self.rate

    def __repr__(self) -> str:
        end = "ended" if self.ended else "cut off at the longest allowed"
        return f"Speech({self.seconds:.2f} s at {self.rate} Hz, {end})"

    def _repr_html_(self) -> str:
        """Returns a player and the speech's length, for notebooks; nothing is fetched."""
        words = html.escape(repr(self))
        if not self.wave.size:
            return words
        file = io.BytesIO()
        self._write(file)
        sound = base64.b64encode(file.getvalue()).decode()
        return f'<audio controls src="data:audio/wav;base64,{sound}"></audio><br>{words}'

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a 16-bit WAV file; what is louder than full scale is clipped."""
        self._write(os.fspath(path), format=None)

    def _write(self, file: "str | io.BytesIO", format: str | None = "WAV") -> None:
        import soundfile

        samples = np.clip(self.wave, -1, 1)
        soundfile.write(file, samples, self.rate, "PCM_16", format=format)

    def transcribe(self, model: str = "tiny.en") -> str:
        """Returns what an ASR understands, as text, by a model that `pixvox.transcribing` finds.

        Raises ImportError where no installed package transcribes, and PixVoxError for a model that
        it cannot load and for speech that it cannot transcribe.
        """
        return transcriber()(self.wave, self.rate, model)


@dataclass(frozen=True)
class ImageToSpeech:
    """A PixVoxLM with its processor; `load` makes one."""

    model: PixVoxLM
    processor: PixVoxProcessor

    def speak(
        self, image: Picture, prompt: "Prompt | None" = None, item: str | None = None, **how: Any
    ) -> Speech:
        """The speech of one picture, as of several; raises ValueError too where it is empty."""
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
        """Returns the speech of each picture; an empty one where the model ends before it begins.

        `prompt`, a file or a waveform at the codec's rate (or with its own rate), is what the
        speech starts with; it is the start alone, for what comes after it has to fit in. `how` is
        as in PixVoxLM.generate: temperature (0.5 where it is not given, 0 is greedy), top_k, top_p,
        seed (0), max_seconds (6.0), ... Noise is keyed by `items`; left out, by the names of files
        without their endings, as the suite keys it by the items of its datasets.

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
        """Returns a prompt's units `[K, P]`; raises ValueError for what is no mono speech."""
        return self.processor.encode(_wave(prompt, self.processor.sample_rate))


Prompt = str | os.PathLike[str] | Wave | tuple[Wave, int] | Speech
"""A file, a waveform at the codec's rate, or a waveform with its own rate in Hz."""


def name_of(image: Picture) -> str:
    """By what a picture's noise is keyed: its file's name without the ending, if it is one."""
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

    `codec` is where its codec is found, if not under the name that the model has for it. Raises
    WeightsError, which says what to do, for weights or a codec that are missing or do not fit.
    """
    folder = resolve(os.fspath(name))
    config = pixvox_config(folder)
    codec_name, _ = fitting_codec(str(name), config, codec)
    check_fit(folder, tensor_shapes(folder), shapes_of(PixVoxLM, config))
    model = PixVoxLM.from_pretrained(folder).eval().to(device)
    processor = PixVoxProcessor.of(config)
    processor.codec = codec_name
    return ImageToSpeech(model, processor)
