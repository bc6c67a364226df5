"""Training states on disk: written atomically, and loaded without running code."""

import os
from pathlib import Path
from typing import Any

import torch

from pixvox.digests import WeightsError

STATE = "state.pt"
"""The name of the last checkpoint in a training's folder."""


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes a training state to `path` atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.part")
    try:
        with partial.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def load_state(path: Path, mapped: bool = False) -> dict[str, Any] | None:
    """Returns the state at `path`, None without a file; with `mapped`, tensors are read on use."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    return state


def last_state(folder: Path, identity: str, mapped: bool = False) -> dict[str, Any] | None:
    """Returns the last checkpoint in a training's folder; None before the first one.

    `identity` is the digest of its model, recipe and data. Raises WeightsError if the checkpoint
    has another.
    """
    state = load_state(folder / STATE, mapped)
    if state is None or not state["step"]:
        return None
    if state.get("identity") != identity:
        raise WeightsError(
            f"{folder / STATE}: the checkpoint of another model, recipe or data; remove {folder}, "
            "or choose another output"
        )
    return state
