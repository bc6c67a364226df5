"""Units of a dataset's captions: those that it has, and of other speech encoded once and cached.

Trainings and systems that compare speech by its units share one file a codec.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from bench.common.audio import SpeechError, read_speech
from bench.common.errors import UserError
from bench.common.filedigests import MISSING, file_digests
from bench.common.progress import Progress
from bench.datasets.base import Caption
from bench.datasets.storedunits import stored_units

if TYPE_CHECKING:
    from torch import Tensor

    from pixvox.codec.encodec import Codec

_SAVE_EVERY = 2000
"""Captions between two writes of the cache."""


def read_wave(path: Path, rate: int) -> npt.NDArray[np.float32]:
    """Speech `[T]` at `rate`; raises UserError naming the file."""
    try:
        return read_speech(path, rate)
    except SpeechError as error:
        raise UserError(f"{path}: {error}; fix or remove it") from error


def sound_of(caption: Caption) -> Path:
    """The file in which a caption is said; raises UserError for one that has units alone."""
    if caption.speech is None:
        assert caption.units is not None
        raise UserError(
            f"{caption.units.file}: {caption.units.name} has no sound here, only a codec's units; "
            "narrate it with its sound"
        )
    return caption.speech


def content_keys(paths: Sequence[Path]) -> list[str]:
    """The digest of each file's bytes, 16 hex digits; raises UserError naming a missing file."""
    digests = file_digests(paths)
    missing = next((path for path in paths if digests[path] == MISSING), None)
    if missing is not None:
        raise UserError(f"{missing}: no such file; fix or remove what names it")
    return [digests[path].hex()[:16] for path in paths]


def units_file(folder: Path, codec: str, bandwidth: float) -> Path:
    """Where the units by a codec of this digest, at a bandwidth in kbps, are cached."""
    return folder / f"units-{codec}-{bandwidth}.pt"


def read_units(file: Path) -> "dict[str, Tensor]":
    """The units in a cache, by content key; empty where it is not there, or damaged."""
    from pixvox.digests import WeightsError, load_pickle

    try:
        return load_pickle(file) if file.exists() else {}
    except WeightsError:
        return {}


def encoded_units(
    speech: Sequence[Path], codec: "Codec", folder: Path, report: Progress
) -> "list[Tensor]":
    """Units of every speech file, int16 `[K, N]`; what the cache in `folder` lacks is encoded."""
    import torch

    from pixvox.training.checkpoint import save_state

    file = units_file(folder, codec.digest, codec.bandwidth)
    known = read_units(file)
    keys = content_keys(speech)
    missing = {key: path for key, path in zip(keys, speech, strict=True) if key not in known}
    try:
        for number, (key, path) in enumerate(missing.items(), 1):
            known[key] = codec.encode(read_wave(path, codec.sample_rate)).to(torch.int16)
            report("units", number, len(missing))
            if number % _SAVE_EVERY == 0:
                save_state(file, known)
    finally:
        # What was encoded before an interruption is kept.
        if missing:
            save_state(file, known)
    return [known[key] for key in keys]


def units_of(
    captions: Sequence[Caption], codec: "Codec", folder: Path, report: Progress
) -> "list[Tensor]":
    """Units of every caption that has speech or units, int64 `[K, N]`.

    Those that the dataset has by this codec are taken as they are, without reading any speech; the
    others are encoded, and cached in `folder`. Raises UserError for a caption that has neither
    speech nor units by this codec.
    """
    stored = [_stored(caption, codec) for caption in captions]
    pairs = zip(captions, stored, strict=True)
    speech = [_sound_to_encode(caption, codec) for caption, units in pairs if units is None]
    encoded = iter(encoded_units(speech, codec, folder, report) if speech else ())
    return [next(encoded).long() if units is None else units for units in stored]


def known_units(captions: Sequence[Caption], codec: "Codec", folder: Path) -> "list[Tensor] | None":
    """As units_of, for captions whose units are all stored or cached; None elsewhere."""
    try:
        stored = [_stored(caption, codec) for caption in captions]
        pairs = zip(captions, stored, strict=True)
        speech = [sound_of(caption) for caption, units in pairs if units is None]
        keys = content_keys(speech)
    except UserError:
        return None
    cached = read_units(units_file(folder, codec.digest, codec.bandwidth)) if speech else {}
    if any(key not in cached for key in keys):
        return None
    encoded = iter([cached[key] for key in keys])
    return [next(encoded).long() if units is None else units for units in stored]


def _stored(caption: Caption, codec: "Codec") -> "Tensor | None":
    if caption.units is None:
        return None
    try:
        return stored_units(caption.units, codec)
    except SpeechError as error:
        raise UserError(f"{caption.units.file}: {error}") from error


def _sound_to_encode(caption: Caption, codec: "Codec") -> Path:
    if caption.speech is None:
        assert caption.units is not None
        raise UserError(
            f"{caption.units.file}: {caption.units.name} has no sound, and no units by the codec "
            f"{codec.digest} at {codec.bandwidth:g} kbps; narrate it with that codec or its sound"
        )
    return caption.speech
