"""Units of a dataset's captions: stored ones, and those of other speech, encoded and cached.

Trainings, and systems that compare speech by its units, share one cache file for each codec.
"""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.common.audio import SpeechError, read_speech
from bench.common.errors import UserError
from bench.common.filedigests import MISSING, file_digests
from bench.common.progress import Progress
from bench.common.spread import Compute, Task, compute_here, single_thread
from bench.datasets.base import Caption
from bench.datasets.storedunits import stored_units

if TYPE_CHECKING:
    from torch import Tensor

    from pixvox.codec.encodec import Codec

_SAVE_EVERY = 2000
"""Captions between two writes of the cache."""
_ENCODED_AT_ONCE = 8
"""Captions in a batch that another process encodes: a second or two of its work."""


def read_wave(path: Path, rate: int) -> npt.NDArray[np.float32]:
    """Returns speech `[T]` at `rate` Hz; raises UserError naming the file."""
    try:
        return read_speech(path, rate)
    except SpeechError as error:
        raise UserError(f"{path}: {error}; fix or remove it") from error


def sound_of(caption: Caption) -> Path:
    """Returns the file of a caption's speech; raises UserError if the caption has only units."""
    if caption.speech is None:
        assert caption.units is not None
        raise UserError(
            f"{caption.units.file}: {caption.units.name} has no sound here, only a codec's units; "
            "narrate it with its sound"
        )
    return caption.speech


def content_keys(paths: Sequence[Path]) -> list[str]:
    """Returns the digest of each file, 16 hex digits; raises UserError naming a missing file."""
    digests = file_digests(paths)
    missing = next((path for path in paths if digests[path] == MISSING), None)
    if missing is not None:
        raise UserError(f"{missing}: no such file; fix or remove what names it")
    return [digests[path].hex()[:16] for path in paths]


def units_file(folder: Path, codec: str, bandwidth: float) -> Path:
    """Returns the cache file for the units of a codec with this digest, at a bandwidth in kbps."""
    return folder / f"units-{codec}-{bandwidth}.pt"


def read_units(file: Path) -> "dict[str, Tensor]":
    """Returns the units in a cache file by content key; empty if it is missing or damaged."""
    from pixvox.digests import WeightsError, load_pickle

    try:
        return load_pickle(file) if file.exists() else {}
    except WeightsError:
        return {}


class _Encoding:
    """Speech `[T]` at the codec's rate → units `[K, N]`, int16.

    Always on a CPU and one thread: a difference of 1e-7 in a sum can choose another unit.
    """

    for_gpu = False

    def __init__(self, codec: "Codec") -> None:
        self._codec = codec

    def to(self, device: str) -> None:
        """Stays on the CPU."""

    def __call__(self, values: Sequence[npt.NDArray[np.float32]]) -> list[npt.NDArray[Any]]:
        with single_thread():
            return [self._codec.encode(wave).numpy().astype(np.int16) for wave in values]


def encoded_units(
    speech: Sequence[Path],
    codec: "Codec",
    folder: Path,
    report: Progress,
    *,
    compute: Compute = compute_here,
) -> "list[Tensor]":
    """Returns the units of every speech file, int16 `[K, N]`.

    Units that the cache in `folder` lacks are encoded and added to it.
    """
    import torch

    from pixvox.training.checkpoint import save_state

    file = units_file(folder, codec.digest, codec.bandwidth)
    known = read_units(file)
    keys = content_keys(speech)
    missing = {key: path for key, path in zip(keys, speech, strict=True) if key not in known}
    missing_keys, paths = list(missing), list(missing.values())
    task = Task(
        work=_Encoding(codec),
        count=len(paths),
        batch=_ENCODED_AT_ONCE,
        read=lambda number: read_wave(paths[number], codec.sample_rate),
        name=lambda number: str(paths[number]),
    )
    try:
        with closing(compute(task)) as results:
            for ready, (number, units) in enumerate(results, 1):
                # Copied: what comes from another process is read-only memory of Ray.
                known[missing_keys[number]] = torch.tensor(units)
                report("units", ready, len(missing))
                if ready % _SAVE_EVERY == 0:
                    save_state(file, known)
    finally:
        # Also after an interruption, the units encoded so far are saved.
        if missing:
            save_state(file, known)
    return [known[key] for key in keys]


def units_of(
    captions: Sequence[Caption],
    codec: "Codec",
    folder: Path,
    report: Progress,
    *,
    compute: Compute = compute_here,
) -> "list[Tensor]":
    """Returns the units of captions that have speech or units, int64 `[K, N]`.

    Units that the dataset has for this codec are used without reading the speech; other speech is
    encoded, and cached in `folder`. Raises UserError for a caption that has neither speech nor
    units of this codec.
    """
    stored = [_stored(caption, codec) for caption in captions]
    pairs = zip(captions, stored, strict=True)
    speech = [_sound_to_encode(caption, codec) for caption, units in pairs if units is None]
    encoded = iter(encoded_units(speech, codec, folder, report, compute=compute) if speech else ())
    return [next(encoded).long() if units is None else units for units in stored]


def known_units(captions: Sequence[Caption], codec: "Codec", folder: Path) -> "list[Tensor] | None":
    """Returns the same as `units_of`; None if a caption's units are neither stored nor cached."""
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
