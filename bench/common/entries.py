"""Classes of the user's own, named `package.module:Class` in a job file."""

import importlib
import importlib.util
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


def source_of(entry: str, who: str) -> Path:
    """The file of the class's module; raises UserError, which begins with `who`, without one."""
    module = entry.split(":")[0]
    try:
        found = importlib.util.find_spec(module)
    except Exception as error:
        # A package is imported to find what is in it, and may raise whatever its author wrote.
        if isinstance(error, ModuleNotFoundError):
            raise UserError(_no_module(who, module)) from error
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(f"{who}: {module} cannot be imported ({reason}); fix it") from error
    if found is None:
        raise UserError(_no_module(who, module))
    if found.origin is None or not Path(found.origin).is_file():
        raise UserError(f"{who}: {module!r} is no file of Python code; name a module of your own")
    return Path(found.origin)


def _no_module(who: str, module: str) -> str:
    return f"{who}: no module {module!r}; install it, or set PYTHONPATH"


def made(entry: str, who: str, **options: Any) -> Any:
    """An instance of the class; raises UserError for whatever its author's code raises."""
    module, name = entry.split(":")
    try:
        return getattr(importlib.import_module(module), name)(**options)
    except Exception as error:
        # Whatever the user's code raises is the user's to fix, and one line says where.
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(f"{who}: {entry} does not start ({reason})") from error
