"""Prepares the standard streams: opens closed ones, replaces unprintable text, names errors."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_STDOUT = 1


class Output(io.TextIOWrapper):
    """Standard output, whose errors name it as their file."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        """Replaces a stream, on the same buffer."""
        lines = stream.line_buffering
        super().__init__(stream.buffer, stream.encoding, line_buffering=lines)
        # Without this reference the stream would be deleted, which closes the buffer.
        self._stream = stream

    def write(self, text: str) -> int:
        with _naming_output():
            return super().write(text)

    def flush(self) -> None:
        with _naming_output():
            super().flush()


@contextmanager
def _naming_output() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = "standard output"
        raise


def prepare() -> None:
    """Prepares the standard streams of this process for a command."""
    _open_closed()
    # A caller of `entry` may have replaced sys.stdout; that stream is left alone.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.fileno() == _STDOUT:
        sys.stdout = Output(sys.stdout)
    replace_unprintable()


def _open_closed() -> None:
    """Opens /dev/null for the standard streams that were closed when this command was started."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # It gets the lowest free descriptor, which is the stream's own.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def replace_unprintable() -> None:
    """Prints characters that the terminal's encoding lacks as `?`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
