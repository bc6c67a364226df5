"""Stopping a training between two steps, with a checkpoint."""

from collections.abc import Callable
from pathlib import Path

import torch

from bench.datasets.base import Report

Stop = Callable[[], bool]
"""Whether the user has asked to stop."""


def ending(report: Report, stop: Stop) -> Report:
    """A report that ends what it is told of by KeyboardInterrupt, for what is done before steps."""

    def watched(what: str, done: int, total: int) -> None:
        report(what, done, total)
        if stop():
            raise KeyboardInterrupt

    return watched


def kept(folder: Path) -> str:
    """What a training that was stopped resumes from."""
    path = folder / "state.pt"
    if not path.exists():
        return "no step was finished yet; the next start begins with the first"
    # Mapped, so that only the number is read.
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return f"{path}: the checkpoint of step {state['step']}, from which the next start resumes"
