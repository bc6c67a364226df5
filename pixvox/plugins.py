"""Plug-ins: classes that installed packages add by entry points, in groups."""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import distributions
from typing import Any

from pixvox.errors import PixVoxError

METRICS = "pixvox.metrics"
SYSTEMS = "pixvox.systems"
DATASETS = "pixvox.datasets"
ASRS = "pixvox.asr"
TABLES = "pixvox.tables"
IMAGE_ENCODERS = "pixvox.image_encoders"
GROUPS: Mapping[str, str] = {
    SYSTEMS: "system",
    DATASETS: "dataset",
    ASRS: "ASR",
    METRICS: "metric",
    TABLES: "table",
    IMAGE_ENCODERS: "image encoder",
}
"""The groups of entry points that are read, with the kind of class in each."""


class PluginError(PixVoxError, ValueError):
    """A plug-in that cannot be used; the message names its package."""


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A class that a package adds under a name; `entry` is `package.module:Class`."""

    group: str
    name: str
    entry: str
    package: str
    version: str

    @property
    def release(self) -> str:
        """The package and its version."""
        return f"{self.package}-{self.version}"

    def load(self, base: type) -> Any:
        """Returns the class; raises PluginError unless it can be imported and extends `base`."""
        module, _, name = self.entry.partition(":")
        who = f"plug-in {self.name!r} ({self.group}) of {self.release}"
        try:
            loaded = getattr(importlib.import_module(module), name)
        except Exception as error:
            # Any exception of the package's code is reported in one line.
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            fix = f"fix it, or run: pip uninstall {self.package}"
            raise PluginError(f"{who}: {self.entry} is not loaded ({reason}); {fix}") from error
        if not (isinstance(loaded, type) and issubclass(loaded, base)):
            wanted = f"{base.__module__}.{base.__qualname__}"
            raise PluginError(f"{who}: {self.entry} is not derived from {wanted}; derive it")
        return loaded


def plugins(group: str) -> Mapping[str, Plugin]:
    """Returns the installed plug-ins of a group, by name, without importing them."""
    return _plugins(tuple(sys.path))[group]


@lru_cache(maxsize=8)
def _plugins(path: tuple[str, ...]) -> Mapping[str, Mapping[str, Plugin]]:
    """Returns all plug-ins by group for this module search path; reading them takes 50 ms."""
    groups: dict[str, dict[str, Plugin]] = {group: {} for group in GROUPS}
    packages: set[str] = set()
    for distribution in distributions():
        if distribution.name in packages:
            # A package that comes earlier on the path hides it.
            continue
        packages.add(distribution.name)
        for point in distribution.entry_points:
            if point.group in GROUPS:
                plugin = Plugin(
                    group=point.group,
                    name=point.name,
                    entry=point.value,
                    package=distribution.name,
                    version=distribution.version,
                )
                groups[point.group].setdefault(point.name, plugin)
    return groups
