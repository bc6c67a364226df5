"""Units of speech that were computed before the speech was stored, in an .npz file.

A model that was trained on the units of a voice's own samples gets other units from speech that was
stored as Opus (two thirds of them differ) or rounded to 16 bits (1.6% differ). The file may be
beside the speech or replace it, and has one of two forms:

    a few captions    `codec`, and an array `[K, N]` for each caption under its name
    packed, of many   `codec`, `names`, `frames` (the number of each caption), and `units`
                      `[K, sum of frames]`, the captions one after the other

`codec` is the digest of the units' codec. A caption's name is the stem of its speech file, as
`pixvox narrate` names it: the item's id, an underscore, the caption's number.
"""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.common.atomic import write_bytes
from bench.common.audio import SpeechError
from bench.common.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from pixvox.codec.encodec import Codec
    from pixvox.codec.facts import CodecFacts

UNITS = "units.npz"
"""The file's name in the folder of a split, a narration or a manifest."""
CODEC = "codec"
_PACKED = {CODEC, "names", "frames", "units"}

Units = npt.NDArray[Any]
"""`[K, N]`, of some integer type."""


@dataclass(frozen=True, slots=True)
class UnitsEntry:
    """The place of a caption's units: a file, and the caption's name in it."""

    file: Path
    name: str


@dataclass(frozen=True)
class UnitsFile:
    """A file's content: the codec's digest, and units by the captions' names."""

    codec: str
    units: Mapping[str, Units]
    is_packed: bool


def write_units(path: Path, codec: str, units: Mapping[str, Units]) -> None:
    """Stores the units of a few captions; the same units give the same bytes."""
    write_bytes(path, units_bytes(codec, units))


def units_bytes(codec: str, units: Mapping[str, Units]) -> bytes:
    """Returns the bytes that `write_units` stores."""
    return _bytes({CODEC: np.array(codec)} | {name: units[name] for name in sorted(units)})


def write_packed(path: Path, codec: str, units: Mapping[str, Units]) -> None:
    """Stores the units of captions with the same K; the same units give the same bytes."""
    names = sorted(units)
    arrays = {
        CODEC: np.array(codec),
        "names": np.array(names),
        "frames": np.array([units[name].shape[1] for name in names], np.int32),
        "units": np.concatenate([units[name] for name in names], axis=1),
    }
    write_bytes(path, _bytes(arrays))


def _bytes(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def read_units_file(path: Path) -> UnitsFile:
    """Returns the content of a file, which is read once a process.

    Raises SpeechError for a damaged file.
    """
    try:
        file_stat = path.stat()
        return _read(path, file_stat.st_mtime_ns, file_stat.st_size)
    except OSError as error:
        raise _damaged(path) from error


@lru_cache(maxsize=4)
def _read(path: Path, changed: int, size: int) -> UnitsFile:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(path) from error
    codec = str(arrays.pop(CODEC, ""))
    # The names of the packed form's arrays cannot all be captions' names.
    if arrays.keys() != _PACKED - {CODEC}:
        return UnitsFile(codec, arrays, False)
    names, frames, units = arrays["names"], arrays["frames"], arrays["units"]
    integers = np.issubdtype(frames.dtype, np.integer) and np.issubdtype(units.dtype, np.integer)
    if not integers or units.ndim != 2 or names.shape != frames.shape or frames.ndim != 1:
        raise _damaged(path)
    if (frames < 1).any() or int(frames.sum()) != units.shape[1]:
        raise _damaged(path)
    ends = np.cumsum(frames, dtype=np.int64)
    bounds = zip(names.tolist(), (ends - frames).tolist(), ends.tolist(), strict=True)
    return UnitsFile(codec, {name: units[:, start:end] for name, start, end in bounds}, True)


def _damaged(path: Path) -> SpeechError:
    return SpeechError(
        f"{path.name}: damaged; remove it and make it again, with pixvox narrate or pixvox scenes "
        "--units"
    )


def entries_beside(folder: Path) -> Mapping[str, UnitsEntry]:
    """Returns the entries of a folder's units file by the captions' names; none without a file.

    Raises UserError for a damaged file.
    """
    file = folder / UNITS
    if not file.exists():
        return {}
    try:
        return {name: UnitsEntry(file, name) for name in read_units_file(file).units}
    except SpeechError as error:
        raise UserError(f"{folder}: {error}") from error


def name_of(item: str, number: int) -> str:
    """Returns the name of a caption's speech and units: its item's id and its number."""
    return f"{item}_{number}"


def entry_digest(entry: UnitsEntry, file_digest: bytes) -> bytes:
    """Returns the digest of a caption's units in the packed form, otherwise the file's digest.

    With the packed form, a split's digest does not change when another split's captions are added.
    """
    try:
        content = read_units_file(entry.file)
    except SpeechError:
        return file_digest
    if not content.is_packed or entry.name not in content.units:
        return file_digest
    units = np.ascontiguousarray(content.units[entry.name])
    head = f"{content.codec} {units.dtype.str} {units.shape}\0"
    return hashlib.sha256(head.encode() + units.tobytes()).digest()


def has_units(entry: UnitsEntry, codec: "Codec | CodecFacts") -> bool:
    """Returns whether a caption's units by this codec are stored, with all its codebooks.

    Raises SpeechError for a damaged file.
    """
    return _fitting(entry, codec) is not None


def _fitting(entry: UnitsEntry, codec: "Codec | CodecFacts") -> Units | None:
    content = read_units_file(entry.file)
    units = content.units.get(entry.name)
    if units is None or content.codec != codec.digest:
        return None
    if units.ndim != 2 or len(units) < codec.codebooks or not units.shape[1]:
        return None
    return units


def stored_units(entry: UnitsEntry, codec: "Codec") -> "Tensor | None":
    """Returns a caption's units `[K, N]`, int64; None where they are missing or of another codec.

    Units that were stored at a higher bandwidth are cut to this codec's K codebooks, as the first
    codebooks of a residual codec are its units at lower bandwidths. Raises SpeechError for a
    damaged file.
    """
    import torch

    array = _fitting(entry, codec)
    if array is None:
        return None
    damaged = SpeechError(f"{entry.file.name}: damaged at {entry.name}; make it again")
    if not np.issubdtype(array.dtype, np.integer):
        raise damaged
    units = torch.from_numpy(array[: codec.codebooks].astype(np.int64))
    if int(units.min()) < 0 or int(units.max()) >= codec.codebook_size:
        raise damaged
    return units
