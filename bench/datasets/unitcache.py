"""Units of a dataset's recorded speech, encoded once and cached by content.

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
from bench.datasets.base import Report

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
    speech: Sequence[Path], codec: "Codec", folder: Path, report: Report
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
