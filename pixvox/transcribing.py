"""Finds an installed package that transcribes speech; the model itself has no ASR."""

from collections.abc import Callable
from importlib.metadata import entry_points

from pixvox.speechfile import Wave

GROUP = "pixvox.transcribers"
"""The group of entry points of packages that transcribe."""

Transcribe = Callable[[Wave, int, str], str]
"""Transcribes mono speech `[T]` at a rate in Hz by a model's name, and returns its words."""


def transcriber() -> Transcribe:
    """Returns the first installed one; raises ImportError if there is none."""
    for entry in entry_points(group=GROUP):
        transcribe: Transcribe = entry.load()
        return transcribe
    raise ImportError("no installed package transcribes speech; run: pip install pixvox-bench")
