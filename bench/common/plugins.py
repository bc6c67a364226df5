"""Kinds that installed packages add to those of the suite, by entry points."""

from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any, TypeVar, get_args

from pydantic import BaseModel

from bench.common.entries import source_of
from bench.common.errors import UserError
from pixvox.digests import file_digest
from pixvox.plugins import GROUPS, Plugin, PluginError, plugins

Kind = TypeVar("Kind", bound=BaseModel)


def load(plugin: Plugin, base: type) -> Any:
    """Returns the class of a plug-in; raises UserError where it cannot be used."""
    try:
        return plugin.load(base)
    except PluginError as error:
        raise UserError(str(error)) from error


def with_plugins(shipped: Sequence[type[Kind]], group: str, *, key: str, base: type[Kind]) -> Any:
    """Returns the union of the suite's kinds and those of a group of entry points.

    `key` is the field whose `Literal` names a kind. Raises UserError for a plug-in whose class has
    another name than its entry point, or the name of a kind of the suite.
    """
    known = {_name_of(kind, key) for kind in shipped}
    added = []
    for plugin in plugins(group).values():
        kind = load(plugin, base)
        who = f"plug-in {plugin.name!r} ({group}) of {plugin.release}"
        if _name_of(kind, key) != plugin.name:
            raise UserError(f"{who}: give {plugin.entry} the field {key}: Literal[{plugin.name!r}]")
        if plugin.name in known:
            raise UserError(f"{who}: the suite has a {GROUPS[group]} of this name; rename it")
        added.append(kind)
    return reduce(or_, (*shipped, *added))


def _name_of(kind: type[BaseModel], key: str) -> str:
    """Returns the name that a kind's field is bound to; "" where it is not bound to a name."""
    names = get_args(kind.model_fields[key].annotation)
    return str(names[0]) if len(names) == 1 else ""


def identity(group: str, name: str) -> str:
    """Returns what identifies a plug-in's kind in keys: package, version, digest of the module.

    Returns "" for a kind of the suite.
    """
    plugin = plugins(group).get(name)
    if plugin is None:
        return ""
    return f"{plugin.release}.{file_digest(source_of(plugin.entry, plugin.package))[:8]}"
