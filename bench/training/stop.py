"""Stopping a training between two steps, with a checkpoint, by Ctrl-C or SIGTERM."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch

from bench.common.interrupt import stoppable
from bench.datasets.base import Report

Stop = Callable[[], bool]
"""Whether the user has asked to stop."""


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Has SIGTERM do what Ctrl-C does; schedulers send it before they kill."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stopping() -> Iterator[Stop]:
    """Gives a question: was Ctrl-C pressed, or SIGTERM sent? A second one ends at once."""
    with stoppable() as asked, sigterm_as_interrupt():
        yield asked


def ending(report: Report, stop: Stop) -> Report:
    """A report that ends what it is told of by KeyboardInterrupt, for what is done before steps."""

    def watched(what: str, done: int, total: int) -> None:
        report(what, done, total)
        if stop():
            raise KeyboardInterrupt

    return watched


def kept(folder: Path) -> str:
    """What a training that was stopped goes on from."""
    path = folder / "state.pt"
    if not path.exists():
        return "no step was finished yet; the next start begins with the first"
    # Mapped, so that only the number is read.
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return f"{path}: the checkpoint of step {state['step']}, from which the next start goes on"
