"""Reads spoken captions as training data, and caches their units and image states."""

import copy
import hashlib
from collections.abc import Sequence
from contextlib import closing
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
from bench.common.spread import Compute, Task, Work, compute_here, single_thread
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


@dataclass(frozen=True, kw_only=True)
class Preparing:
    """How a split's caches are computed: `compute` says where, `report` shows the progress."""

    report: Progress
    compute: Compute = compute_here
    mirrored: bool = False


class _States:
    """Uint8 pictures `[3, H, W]` → the image encoder's states `[C, P, D]`, float16.

    C is 1, or 2 where the states of the mirrored picture follow.
    """

    for_gpu = True

    def __init__(self, vision: ImageEncoder, mirrored: bool) -> None:
        self._vision, self._mirrored = vision, mirrored

    def __reduce__(self) -> tuple[Any, ...]:
        # The process that unpickles it may have no GPU.
        model = copy.deepcopy(self._vision.model).cpu()
        return _States, (ImageEncoder(model, self._vision.scaling), self._mirrored)

    def to(self, device: str) -> None:
        self._vision.model.to(device)

    def __call__(self, values: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        pixels = torch.from_numpy(np.stack(values))
        with single_thread():
            copies = [_states(self._vision, pixels)]
            if self._mirrored:
                copies.append(_states(self._vision, pixels.flip(-1)))
        return list(np.stack(copies, 1))


class _Pixels:
    """Uint8 pictures `[3, H, W]` as they are, `[C, 3, H, W]`: C is 1, or 2 with mirrored ones."""

    for_gpu = False

    def __init__(self, mirrored: bool) -> None:
        self._mirrored = mirrored

    def to(self, device: str) -> None:
        """Does nothing: pixels are not computed."""

    def __call__(self, values: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        return [np.stack([v, v[..., ::-1]] if self._mirrored else [v]) for v in values]


def pictures(
    data: DatasetSpec,
    split: Half,
    paths: Sequence[Path],
    vision: ImageEncoder | ImageScaling,
    *,
    how: Preparing,
) -> npt.NDArray[Any]:
    """Returns the encoder's states of pictures `[I, P, D]`, float16, or, if `vision` is a scaling
    alone, the pictures `[I, 3, H, W]`, uint8.

    With `how.mirrored`, those of mirrored pictures follow: `[2I, …]`. The array is
    a memory-mapped cache file, which the workers of one machine share. Raises UserError for a
    picture that cannot be used.
    """
    encoder = vision if isinstance(vision, ImageEncoder) else None
    scaling = vision.scaling if isinstance(vision, ImageEncoder) else vision
    cache = _cache(data, split)
    key = hashlib.sha256("\n".join(_content(path) for path in paths).encode())
    if encoder is not None:
        key.update(str(scaling).encode())
        for name, value in encoder.model.state_dict().items():
            key.update(name.encode() + value.float().cpu().numpy().tobytes())
    kind = "states" if encoder is not None else f"pixels-{scaling.size}"
    name = f"{kind}-{key.hexdigest()[:16]}"
    file, both = cache / f"{name}.npy", cache / f"{name}-mirrored.npy"
    if both.exists() and not how.mirrored:
        all_rows: npt.NDArray[Any] = np.load(both, mmap_mode="r")
        return all_rows[: len(paths)]
    if how.mirrored:
        file = both
    if not file.exists():
        _write_pictures(file, paths, encoder, scaling, how=how)
    mapped: npt.NDArray[Any] = np.load(file, mmap_mode="r")
    return mapped


def _write_pictures(
    file: Path,
    paths: Sequence[Path],
    encoder: ImageEncoder | None,
    scaling: ImageScaling,
    *,
    how: Preparing,
) -> None:
    size, copies = scaling.size, 1 + how.mirrored
    shape: tuple[int, ...] = (3, size, size)
    work: Work = _Pixels(how.mirrored)
    if encoder is not None:
        shape = state_shape(encoder.model.config, size)
        work = _States(encoder, how.mirrored)
    task = Task(
        work=work,
        count=len(paths),
        batch=_ENCODED_AT_ONCE,
        read=lambda number: _pixels(paths[number], size).numpy(),
        name=lambda number: str(paths[number]),
    )
    # Pixels alone are read in this process, wherever other work is done.
    compute = how.compute if encoder is not None else compute_here
    dtype = np.float16 if encoder is not None else np.uint8
    with (
        written(file, dtype, (copies * len(paths), *shape)) as rows,
        closing(compute(task)) as results,
    ):
        for ready, (number, values) in enumerate(results, 1):
            for index in range(copies):
                rows[index * len(paths) + number] = values[index]
            how.report("pictures", ready, len(paths))


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
    *,
    frozen: bool,
    skip_too_long: bool,
    how: Preparing,
) -> SpokenCaptions:
    """Returns a split ready for training; units and pictures are computed once and cached."""
    spoken = spoken_of(data, split, how.report)
    captions = [speech.caption for speech in spoken]
    units = units_of(captions, codec, _cache(data, split), how.report, compute=how.compute)
    spoken, units = _fitting(spoken, units, model, skip_too_long)
    paths = sorted({speech.image for speech in spoken})
    index = {path: number for number, path in enumerate(paths)}
    scaling = model.config.scaling
    vision = ImageEncoder(model.vision, scaling) if frozen else scaling
    images = pictures(data, split, paths, vision, how=how)
    return SpokenCaptions(units, [index[speech.image] for speech in spoken], images, how.mirrored)
