"""Adds PixVoxLM to transformers' Auto classes, without importing transformers or PyTorch.

transformers finds its own models by name, in lists of class names and a lazy package for each
model. `pixvox` is such a package, so its names are added to these lists once they are loaded.
Importing our classes at that time instead, to call `AutoModel.register`, would be a circular
import.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_AUTO = "transformers.models.auto."
_NAMES = {
    f"{_AUTO}configuration_auto": ("CONFIG_MAPPING", "PixVoxConfig"),
    f"{_AUTO}modeling_auto": ("MODEL_MAPPING", "PixVoxLM"),
    f"{_AUTO}processing_auto": ("PROCESSOR_MAPPING", "PixVoxProcessor"),
}


def _add_name(module: ModuleType) -> None:
    mapping, name = _NAMES[module.__name__]
    getattr(module, f"{mapping}_NAMES")["pixvox"] = name
    if name != "PixVoxConfig":
        # Built when the module was imported, from the configurations known then.
        getattr(module, mapping)._reverse_config_mapping["PixVoxConfig"] = "pixvox"


class _Adding(Loader):
    """Loads a module by another loader, and then adds our name."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        _add_name(module)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname in _NAMES else None
        if spec and spec.loader:
            spec.loader = _Adding(spec.loader)
        return spec


def register(package: ModuleType) -> None:
    """Registers the classes of `package` with the Auto classes, now or when they are imported."""
    sys.modules["transformers.models.pixvox"] = package
    sys.meta_path.insert(0, _Finder())
    for name in _NAMES:
        if name in sys.modules:
            _add_name(sys.modules[name])
