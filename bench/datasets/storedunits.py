"""Units of speech as it was before it was stored with losses, beside the split that it belongs to.

A model that was trained on the units of lossless speech meets others in a prompt that was stored
as Opus: two thirds of them differ. An .npz holds `codec`, the digest of the codec that made the
units, and an array `[K, N]` for each speech file, under that file's stem.
"""

import io
import zipfile
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.common.atomic import write_bytes
from bench.common.audio import SpeechError

if TYPE_CHECKING:
    from torch import Tensor

    from pixvox.codec.encodec import Codec

CODEC = "codec"


def write_units(path: Path, codec: str, units: Mapping[str, npt.NDArray[np.int16]]) -> None:
    """Stores units by the stem of their speech's file; the same units are the same bytes."""
    named: dict[str, Any] = {CODEC: np.array(codec)} | {name: units[name] for name in sorted(units)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **named)
    write_bytes(path, buffer.getvalue())


@lru_cache(maxsize=4)
def _held(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise SpeechError(f"{path.name}: damaged; make it again: pixvox scenes --units") from error


def stored_units(path: Path, speech: Path, codec: "Codec") -> "Tensor | None":
    """Units `[K, N]` of a speech file, int64; None where they are of another codec, or not there.

    Those of a codec with residual codebooks hold those of its lower bandwidths. Raises SpeechError
    for a damaged file.
    """
    import torch

    held = _held(path)
    found = held.get(speech.stem)
    if found is None or CODEC not in held or str(held[CODEC]) != codec.digest:
        return None
    if found.ndim != 2 or len(found) < codec.codebooks or not found.shape[1]:
        return None
    if not np.issubdtype(found.dtype, np.integer):
        raise SpeechError(f"{path.name}: damaged at {speech.stem}; make it again")
    units = torch.from_numpy(found[: codec.codebooks].astype(np.int64))
    if int(units.min()) < 0 or int(units.max()) >= codec.codebook_size:
        raise SpeechError(f"{path.name}: damaged at {speech.stem}; make it again")
    return units
