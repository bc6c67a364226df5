"""Stopping a training between two steps, with a checkpoint."""

from collections.abc import Callable
from pathlib import Path

import torch

from bench.common.progress import Progress

Stop = Callable[[], bool]
"""Whether the user has asked to stop."""


def ending(report: Progress, stop: Stop) -> Progress:
    """Returns a report that raises KeyboardInterrupt once the user has asked to stop.

    It is for the preparations before the first step.
    """

    def watched(what: str, done: int, total: int) -> None:
        report(what, done, total)
        if stop():
            raise KeyboardInterrupt

    return watched


def describe_checkpoint(folder: Path) -> str:
    """Returns a line about the checkpoint that a stopped training resumes from."""
    path = folder / "state.pt"
    if not path.exists():
        return "no step was finished yet; the next start begins with the first"
    # The file is mapped, so that only the step's number is read.
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return f"{path}: the checkpoint of step {state['step']}, from which the next start resumes"
