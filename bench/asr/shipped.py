"""The ASR backends that come with the suite; a new backend is one line here."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag

from bench.asr.ctc import CtcAsr
from bench.asr.faster import FasterAsr
from bench.asr.own import OwnAsr
from bench.asr.whisper import WhisperAsr

_Shipped = WhisperAsr | FasterAsr | CtcAsr

DEFAULT = WhisperAsr()
"""The ASR of a job that names none."""


def _named(data: Any) -> Any:
    """Adds the default backend to a mapping without one."""
    return {"backend": DEFAULT.backend} | data if isinstance(data, dict) else data


def _whose(data: Any) -> str:
    backend = data.get("backend") if isinstance(data, dict) else getattr(data, "backend", None)
    return "own" if isinstance(backend, str) and ":" in backend else "shipped"


AnyAsr = Annotated[
    Annotated[_Shipped, Field(discriminator="backend"), BeforeValidator(_named), Tag("shipped")]
    | Annotated[OwnAsr, Tag("own")],
    Discriminator(_whose),
]
"""A job's `asr`, or an entry of a list of them."""
