"""Classes that installed packages add to the suite by entry points."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points

METRICS = "pixvox.metrics"
GROUPS: Mapping[str, str] = {METRICS: "metric"}
"""The groups of entry points that are read → the kind of class that each adds."""


@dataclass(frozen=True)
class Plugin:
    """A class that a package adds under a name; `entry` is `package.module:Class`."""

    name: str
    entry: str
    package: str
    version: str


def plugins(group: str) -> Mapping[str, Plugin]:
    """Returns the installed plugins of a group by name; imports none of them."""
    return _plugins(group, tuple(sys.path))


@lru_cache(maxsize=16)
def _plugins(group: str, path: tuple[str, ...]) -> Mapping[str, Plugin]:
    """As `plugins`, cached by the path on which modules are searched."""
    return {
        point.name: Plugin(point.name, point.value, point.dist.name, point.dist.version)
        for point in entry_points(group=group)
        if point.dist is not None
    }
