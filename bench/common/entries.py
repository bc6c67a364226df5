"""A user's own classes, named `package.module:Class` in a job file.

The current folder is searched for modules last, so a file there does not hide an installed module.
"""

import importlib
import importlib.util
import json
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from bench.common.errors import UserError

Entry = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
        max_length=200,
        description="write package.module:Class",
    ),
]


def _search_here() -> None:
    if "" not in sys.path:
        sys.path.append("")


def source_of(entry: str, who: str) -> Path:
    """Returns the file of the class's module.

    Raises UserError, whose message starts with `who`, where there is none.
    """
    module = entry.split(":")[0]
    _search_here()
    try:
        module_spec = importlib.util.find_spec(module)
    except Exception as error:
        # Parent packages are imported here, and the user's code may raise anything.
        if isinstance(error, ModuleNotFoundError):
            raise UserError(_no_module(who, module)) from error
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(f"{who}: {module} cannot be imported ({reason}); fix it") from error
    if module_spec is None:
        raise UserError(_no_module(who, module))
    if module_spec.origin is None or not Path(module_spec.origin).is_file():
        raise UserError(f"{who}: {module!r} is no file of Python code; name a module of your own")
    return Path(module_spec.origin)


def module_root(entry: str, who: str) -> Path | None:
    """Returns the outermost package, or the file, that holds a class.

    Returns None for an installed package: it must be installed on other machines too. Raises as
    `source_of`.
    """
    path = source_of(entry, who).absolute()
    if any(path.is_relative_to(sysconfig.get_path(name)) for name in ("purelib", "platlib")):
        return None
    depth = entry.split(":")[0].count(".") + (path.name == "__init__.py")
    return path.parents[depth - 1] if depth else path


def _no_module(who: str, module: str) -> str:
    return f"{who}: no module {module!r}; install it, or run in the folder that has it"


def instantiate(entry: str, who: str, options: Mapping[str, Any] | None = None) -> Any:
    """Returns an instance of the class; raises UserError for any exception of its constructor.

    The message starts with `who`, which is empty where several labels share the class.
    """
    module, name = entry.split(":")
    _search_here()
    try:
        return getattr(importlib.import_module(module), name)(**(options or {}))
    except Exception as error:
        # The user's code may raise anything; the line tells the user where to fix it.
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        named = f"{who}: {entry}" if who else entry
        raise UserError(f"{named} does not start ({reason})") from error


_CHECK = """
import importlib, inspect, json, sys
sys.path.append("")
module, name, method, takes, options = sys.argv[1:]
try:
    given = getattr(importlib.import_module(module), name, None)
except BaseException as error:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    sys.exit(f"{module} cannot be imported ({reason})")
if given is None:
    sys.exit(f"{module} has no {name}")
if not callable(given) or not callable(getattr(given, method, None)):
    sys.exit(f"{module}.{name} is no class with a method {method}({takes})")
try:
    signature = inspect.signature(given)
except (TypeError, ValueError):
    sys.exit()
try:
    signature.bind(**json.loads(options))
except TypeError as error:
    sys.exit(f"options: {module}.{name} takes {signature} ({error})")
"""
_SECONDS = 300


def check_class(
    entry: str, who: str, *, method: str, takes: str, options: Mapping[str, Any]
) -> None:
    """Imports the class's module in another process, before any actor is started.

    Raises UserError where the import fails or ends the process, where there is no class with that
    method, and where the class does not take the options as keyword arguments.
    """
    source_of(entry, who)
    asked = [*entry.split(":"), method, takes, json.dumps(dict(options))]
    # -P: the current folder must not come first.
    command = [sys.executable, "-P", "-c", _CHECK, *asked]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"{who}: {entry} was not imported within {_SECONDS} s; fix it") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["it ended"]
        raise UserError(f"{who}: {said[0][:300]}; fix {entry}")
