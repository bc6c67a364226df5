"""Who transcribes speech: an installed package that says so. The model itself knows no ASR."""

from collections.abc import Callable
from importlib.metadata import entry_points

from pixvox.speechfile import Wave

GROUP = "pixvox.transcribers"
"""The entry points of packages that transcribe."""

Transcribe = Callable[[Wave, int, str], str]
"""Takes mono speech `[T]`, its rate in Hz and a model's name, and gives its words."""


def transcriber() -> Transcribe:
    """Returns the first that is installed; raises ImportError where none is."""
    for entry in entry_points(group=GROUP):
        transcribe: Transcribe = entry.load()
        return transcribe
    raise ImportError("no installed package transcribes speech; run: pip install pixvox-bench")
