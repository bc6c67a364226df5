"""Ctrl-C: the first ends a run after the batches in flight, the second at once."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Gives a function that returns whether the user has pressed Ctrl-C.

    A second Ctrl-C raises KeyboardInterrupt.
    """
    asked = False

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        print(
            "\nstopping after the work in progress; press Ctrl-C again to stop at once",
            file=sys.stderr,
            flush=True,
        )

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
