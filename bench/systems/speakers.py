"""Speakers: what turns items into speech. One holds a model and serves all cells that share it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bench.audio import SpeechError, read_speech
from bench.datasets.types import Item
from bench.rows import Spoken
from bench.spec import PixVoxSpec, RecordedSpec, ResynthesisSpec, SystemSpec
from pixvox.codec import Codec
from pixvox.decoding import Engine, Request
from pixvox.images import ImageError, load_image
from pixvox.modeling import PixVoxLM
from pixvox.sampling import Decoding
from pixvox.weights import resolve

Asked = Sequence[tuple[Item, tuple[float, ...]]]
"""Items, each with the prompt shares that it is to be spoken at."""


class Speaker(Protocol):
    """Speaks items; one row for every (item, prompt share) asked, in order."""

    def speak(self, asked: Asked) -> list[tuple[float, Spoken]]: ...


def _speech_file(item: Item, number: int) -> Path:
    if number >= len(item.captions):
        raise SpeechError(f"{item.id}: has no caption {number}")
    path = item.captions[number].speech
    if path is None:
        raise SpeechError(f"{item.id}: caption {number} has no recorded speech")
    if not path.is_file():
        raise SpeechError(f"{path.name}: no such file")
    return path


def _packed(units: Tensor) -> bytes:
    return units.to(torch.int16).numpy().tobytes()


class RecordedSpeaker:
    """Points at the dataset's own speech."""

    def __init__(self, spec: RecordedSpec) -> None:
        self.spec = spec

    def speak(self, asked: Asked) -> list[tuple[float, Spoken]]:
        rows = []
        for item, _ in asked:
            try:
                _speech_file(item, self.spec.caption)
                row = Spoken(item.id, "ok", caption=self.spec.caption)
            except SpeechError as error:
                row = Spoken(item.id, "failed", str(error), caption=self.spec.caption)
            rows.append((0.0, row))
        return rows


class ResynthesisSpeaker:
    """Encodes the dataset's own speech."""

    def __init__(self, spec: ResynthesisSpec) -> None:
        self.spec = spec
        self.codec = Codec.load(spec.codec, spec.bandwidth)

    def speak(self, asked: Asked) -> list[tuple[float, Spoken]]:
        rows = []
        for item, _ in asked:
            number = self.spec.caption
            try:
                wave = read_speech(_speech_file(item, number), self.codec.sample_rate)
                units = self.codec.encode(wave)
                row = Spoken(
                    item.id,
                    "ok",
                    units=_packed(units),
                    codebooks=units.shape[0],
                    caption=number,
                )
            except SpeechError as error:
                row = Spoken(item.id, "failed", str(error), caption=number)
            rows.append((0.0, row))
        return rows


class PixVoxSpeaker:
    """A PixVoxLM on one device. An image is encoded once for all prompt shares."""

    def __init__(self, spec: PixVoxSpec, device: str) -> None:
        self.spec = spec
        self.device = device
        self.model = PixVoxLM.from_pretrained(resolve(spec.weights), dtype=torch.float32).eval()
        self.model.to(device)
        config = self.model.config
        self.codec = Codec.load(spec.codec or config.codec, config.bandwidth)
        self.decoding = Decoding(**spec.decoding.model_dump())
        self.engine = Engine(self.model, self.decoding)

    def _prompt(self, item: Item, share: float) -> Tensor:
        """The first `share` of the reference speech, cut on codec frames: `[K, P]`."""
        if share == 0:
            return torch.zeros(self.codec.codebooks, 0, dtype=torch.long)
        path = _speech_file(item, self.spec.prompt_caption)
        units = self.codec.encode(read_speech(path, self.codec.sample_rate))
        return units[:, : round(share * units.shape[1])]

    @torch.inference_mode()
    def _encode(self, images: list[Tensor]) -> Tensor:
        # One at a time, so that a state does not depend on which images share the batch.
        states = [self.model.encode_images(image[None].to(self.device)) for image in images]
        return torch.cat(states)

    def speak(self, asked: Asked) -> list[tuple[float, Spoken]]:
        images: list[Tensor] = []
        requests: list[Request] = []
        keys: list[tuple[str, float, int]] = []
        done: dict[tuple[str, float], Spoken] = {}
        size = self.model.config.vision_config.image_size
        limit = round(self.decoding.max_seconds * self.model.config.frame_rate)
        for item, shares in asked:
            try:
                images.append(load_image(item.image, size))
            except ImageError as error:
                done |= {(item.id, s): Spoken(item.id, "failed", str(error)) for s in shares}
                continue
            for share in shares:
                try:
                    prompt = self._prompt(item, share)
                    if prompt.shape[1] >= limit:
                        raise SpeechError(f"a prompt of {prompt.shape[1]} frames leaves no room")
                except SpeechError as error:
                    done[item.id, share] = Spoken(item.id, "failed", str(error))
                    continue
                requests.append(Request(item.id, len(images) - 1, prompt))
                keys.append((item.id, share, prompt.shape[1]))
        if requests:
            made = self.engine.generate(self._encode(images), requests)
            for (name, share, frames), speech in zip(keys, made, strict=True):
                done[name, share] = self._row(name, share, frames, speech.units, speech.ended)
        return [(share, done[item.id, share]) for item, shares in asked for share in shares]

    def _row(self, item: str, share: float, frames: int, units: Tensor, ended: bool) -> Spoken:
        caption = self.spec.prompt_caption if share > 0 else -1
        if units.shape[1] == 0:
            return Spoken(item, "failed", "the model ended before it spoke", caption=caption)
        return Spoken(
            item,
            "ok",
            units=_packed(units.cpu()),
            codebooks=units.shape[0],
            prompt_frames=frames,
            caption=caption,
            ended=ended,
        )


def make_speaker(spec: SystemSpec, device: str) -> Speaker:
    """The speaker of a system."""
    match spec:
        case PixVoxSpec():
            return PixVoxSpeaker(spec, device)
        case RecordedSpec():
            return RecordedSpeaker(spec)
        case ResynthesisSpec():
            return ResynthesisSpeaker(spec)


def units_of(row: Spoken) -> Tensor:
    """A row's units as int64 `[K, N]`."""
    return torch.from_numpy(row.array.astype(np.int64))
