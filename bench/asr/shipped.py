"""The ASR backends that come with the suite, a line each, and those of plug-ins."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag

from bench.asr.base import Asr
from bench.asr.ctc import CtcAsr
from bench.asr.faster import FasterAsr
from bench.asr.own import OwnAsr
from bench.asr.whisper import WhisperAsr
from bench.common.plugins import with_plugins
from pixvox.plugins import ASRS

SHIPPED: tuple[type[Asr], ...] = (WhisperAsr, FasterAsr, CtcAsr)

DEFAULT = WhisperAsr()
"""The ASR of a job that names none."""


def _named(data: Any) -> Any:
    """Adds the default backend to a mapping without one."""
    return {"backend": DEFAULT.backend} | data if isinstance(data, dict) else data


def _whose(data: Any) -> str:
    backend = data.get("backend") if isinstance(data, dict) else getattr(data, "backend", None)
    return "own" if isinstance(backend, str) and ":" in backend else "shipped"


if TYPE_CHECKING:
    AnyAsr = Asr
else:
    _Named = with_plugins(SHIPPED, ASRS, key="backend", base=Asr)
    AnyAsr = Annotated[
        Annotated[_Named, Field(discriminator="backend"), BeforeValidator(_named), Tag("shipped")]
        | Annotated[OwnAsr, Tag("own")],
        Discriminator(_whose),
    ]
"""A job's `asr`, or an entry of a list of them."""
