"""Text normalisers, applied to both hypotheses and references when scores are computed."""

import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType


@lru_cache(maxsize=1)
def english() -> Callable[[str], str]:
    """Returns Whisper's English normaliser (Radford et al. 2022, appendix C)."""
    normaliser: Callable[[str], str] = _normalizers().EnglishTextNormalizer()
    return normaliser


def _normalizers() -> ModuleType:
    """Returns the package whisper.normalizers without whisper itself, which imports PyTorch.

    It needs nothing of its parent package. It is loaded under another name, because its own name
    would import the parent.
    """
    parent = find_spec("whisper")
    assert parent is not None
    assert parent.submodule_search_locations is not None
    folder = Path(parent.submodule_search_locations[0]) / "normalizers"
    name = "whisper_normalizers"
    spec = spec_from_file_location(name, folder / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # Its modules import each other by this name.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def normaliser(name: str) -> Callable[[str], str]:
    """Returns the normaliser `none` or `whisper`."""
    return english() if name == "whisper" else str
