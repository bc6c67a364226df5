"""The standard streams of a command: open, able to print everything, and named in their errors."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_STDOUT = 1


class Output(io.TextIOWrapper):
    """Standard output, whose errors say that they are its own."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        """Takes the place of a stream, on its buffer."""
        lines = stream.line_buffering
        super().__init__(stream.buffer, stream.encoding, line_buffering=lines)
        # A stream that nobody refers to closes its buffer.
        self._stream = stream

    def write(self, text: str) -> int:
        """See TextIOWrapper."""
        with _naming_output():
            return super().write(text)

    def flush(self) -> None:
        """See TextIOWrapper."""
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
    """Makes the streams of this process what a command expects of them."""
    _open_closed()
    # Not what a caller of `entry` put in its place.
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.fileno() == _STDOUT:
        sys.stdout = Output(sys.stdout)
    replace_unprintable()


def _open_closed() -> None:
    """Throws away what is written to streams that whoever started this command had closed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # It takes the lowest free number, the stream's own, which no other file gets then.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def replace_unprintable() -> None:
    """Has what the terminal's encoding lacks printed as `?`; files are UTF-8 whatever it is."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
