"""Reads spoken captions as training data, and caches their units and image states."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import PreTrainedModel

from bench.common.errors import UserError
from bench.common.progress import Progress
from bench.datasets.base import Caption, DatasetSpec, Half
from bench.datasets.unitcache import units_of
from pixvox.codec.encodec import Codec
from pixvox.digests import file_digest
from pixvox.images import ImageError, load_pixels, normalise
from pixvox.modeling import PixVoxLM
from pixvox.training.captions import SpokenCaptions
from pixvox.training.mapped import written
from pixvox.vision import ImageScaling, image_states, state_shape

_ENCODED_AT_ONCE = 16
"""Pictures in a batch; the activations of more would not fit a core's cache."""


@dataclass(frozen=True)
class ImageEncoder:
    """An image encoder in evaluation mode, and the scaling of its pictures."""

    model: PreTrainedModel
    scaling: ImageScaling


@dataclass(frozen=True)
class Spoken:
    """A caption with speech or units, and its picture's file."""

    image: Path
    caption: Caption

    @property
    def name(self) -> str:
        """The speech's file, or the name of its units if there is no file."""
        if self.caption.speech is not None:
            return str(self.caption.speech)
        assert self.caption.units is not None
        return self.caption.units.name


def spoken_of(data: DatasetSpec, split: Half, report: Progress) -> list[Spoken]:
    """Returns the captions of a split with speech or units; raises UserError if there are none."""
    items = data.half(split, report)
    spoken = [
        Spoken(item.image, caption)
        for item in items
        for caption in item.captions
        if caption.speech is not None or caption.units is not None
    ]
    if not spoken:
        raise UserError(
            f"data: {split} has no spoken caption; name the audio, ask for more images, or name "
            "the validation data"
        )
    return spoken


def _cache(data: DatasetSpec, split: Half) -> Path:
    folder = data.computed() / split
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _content(path: Path) -> str:
    """Returns the digest of a file, 16 hex digits; raises UserError naming an unreadable file."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is not a plain file; remove it")
    try:
        return file_digest(path)[:16]
    except OSError as error:
        raise UserError(f"{path}: not readable ({error.strerror}); fix or remove it") from error


def pictures(
    data: DatasetSpec,
    split: Half,
    paths: Sequence[Path],
    vision: ImageEncoder,
    frozen: bool,
    report: Progress,
    mirrored: bool = False,
) -> npt.NDArray[Any]:
    """Returns uint8 pictures `[I, 3, H, W]`, or a frozen encoder's states `[I, P, D]` in float16.

    With `mirrored`, those of the pictures mirrored left to right follow: `[2I, …]`. The array is a
    memory-mapped cache file, which the workers of one machine share. Raises UserError for a picture
    that cannot be used.
    """
    size, cache = vision.scaling.size, _cache(data, split)
    key = hashlib.sha256("\n".join(_content(path) for path in paths).encode())
    if frozen:
        key.update(str(vision.scaling).encode())
        for name, value in vision.model.state_dict().items():
            key.update(name.encode() + value.float().cpu().numpy().tobytes())
    kind = "states" if frozen else f"pixels-{size}"
    name = f"{kind}-{key.hexdigest()[:16]}"
    file, both = cache / f"{name}.npy", cache / f"{name}-mirrored.npy"
    if both.exists() and not mirrored:
        whole: npt.NDArray[Any] = np.load(both, mmap_mode="r")
        return whole[: len(paths)]
    if mirrored:
        file = both
    if not file.exists():
        shape = state_shape(vision.model.config, size) if frozen else (3, size, size)
        dtype = np.float16 if frozen else np.uint8
        copies = 1 + mirrored
        with written(file, dtype, (copies * len(paths), *shape)) as rows:
            for start in range(0, len(paths), _ENCODED_AT_ONCE):
                pixels = torch.stack([_pixels(p, size) for p in paths[start:][:_ENCODED_AT_ONCE]])
                for copy in range(copies):
                    batch = pixels.flip(-1) if copy else pixels
                    place = copy * len(paths) + start
                    rows[place : place + len(batch)] = (
                        _states(vision, batch) if frozen else batch.numpy()
                    )
                report("pictures", start + len(pixels), len(paths))
    mapped: npt.NDArray[Any] = np.load(file, mmap_mode="r")
    return mapped


def _pixels(path: Path, size: int) -> Tensor:
    """Returns a picture, uint8 `[3, size, size]`; raises UserError naming an invalid file."""
    try:
        return load_pixels(path, size)
    except ImageError as error:
        raise UserError(f"{path}: {error}; fix or remove it") from error


@torch.inference_mode()
def _states(vision: ImageEncoder, pixels: Tensor) -> npt.NDArray[Any]:
    """Returns the image states `[B, P, D]`, float16, of uint8 pictures `[B, 3, H, W]`."""
    given = normalise(pixels, vision.scaling).to(vision.model.device)
    return np.asarray(image_states(vision.model, given).to(torch.float16).cpu().numpy())


def _fitting(
    spoken: list[Spoken], units: list[Tensor], model: PixVoxLM, skip: bool
) -> tuple[list[Spoken], list[Tensor]]:
    """Returns the speech that fits the model's positions.

    Raises UserError where speech does not fit and `skip` is False, or where none fits.
    """
    limit = model.config.max_position_embeddings
    lengths = [u.shape[-1] + 1 for u in units]
    steps = {n: len(model.config.layout(n).steps) for n in set(lengths)}
    fits = [steps[n] <= limit for n in lengths]
    if not all(fits) and not skip:
        worst = max(range(len(units)), key=lengths.__getitem__)
        raise UserError(
            f"{spoken[worst].name}: {steps[lengths[worst]]} steps, and the model has {limit} "
            f"positions ({fits.count(False)} such captions); raise positions, or set "
            "too_long: skip"
        )
    chosen = [index for index, fit in enumerate(fits) if fit]
    if not chosen:
        raise UserError(f"data: no caption fits {limit} positions; raise positions")
    return [spoken[index] for index in chosen], [units[index] for index in chosen]


def spoken_captions(
    data: DatasetSpec,
    split: Half,
    codec: Codec,
    model: PixVoxLM,
    frozen: bool,
    skip_too_long: bool,
    report: Progress,
    mirrored: bool = False,
) -> SpokenCaptions:
    """Returns a split ready for training; units and pictures are computed once and cached."""
    spoken = spoken_of(data, split, report)
    units = units_of([speech.caption for speech in spoken], codec, _cache(data, split), report)
    spoken, units = _fitting(spoken, units, model, skip_too_long)
    paths = sorted({speech.image for speech in spoken})
    index = {path: number for number, path in enumerate(paths)}
    vision = ImageEncoder(model.vision, model.config.scaling)
    images = pictures(data, split, paths, vision, frozen, report, mirrored)
    return SpokenCaptions(units, [index[speech.image] for speech in spoken], images, mirrored)
