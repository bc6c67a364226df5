"""PixVoxLM: generates a spoken description of an image, with no text in between."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from pixvox.registration import register

if TYPE_CHECKING:
    from pixvox.configuration import PixVoxConfig
    from pixvox.modeling import PixVoxLM
    from pixvox.pipeline import ImageToSpeech, Speech, load
    from pixvox.processing import PixVoxProcessor

__all__ = ["ImageToSpeech", "PixVoxConfig", "PixVoxLM", "PixVoxProcessor", "Speech", "load"]

_WHERE = {
    "ImageToSpeech": "pipeline",
    "PixVoxConfig": "configuration",
    "PixVoxLM": "modeling",
    "PixVoxProcessor": "processing",
    "Speech": "pipeline",
    "load": "pipeline",
}


def __getattr__(name: str) -> Any:
    """Imports the attribute on first access: PyTorch and transformers take seconds (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register(sys.modules[__name__])
