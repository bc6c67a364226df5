"""What was found out once and is kept below `$XDG_CACHE_HOME/pixvox`; it may be removed.

A look at content is kept under all that it depends on, this code and the libraries' versions
included, so that it is never out of date.
"""

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import bench
import pixvox
from bench.common.atomic import write_bytes
from pixvox.cache import cache_folder as cache_folder

_LIBRARIES = ("torch", "transformers")


def look(of: Sequence[str], make: Callable[[], Any]) -> Any:
    """The JSON that `make` gives for content of these digests, made once; what it raises is not
    kept."""
    name = hashlib.sha256(json.dumps([*of, _ours()]).encode()).hexdigest()[:16]
    path = cache_folder() / f"look-{name}.json"
    found = read_kept(path)
    if found is None:
        found = make()
        write_kept(path, found)
    return found


def _ours() -> list[str]:
    """What the code is that looks."""
    return [code_digest(), *map(importlib.metadata.version, _LIBRARIES)]


@lru_cache(maxsize=1)
def code_digest() -> str:
    """The digest of the suite's and the model's code."""
    state = hashlib.sha256()
    for package in (bench, pixvox):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*.py")):
            state.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return state.hexdigest()


def read_kept(path: Path) -> Any:
    """What is kept there: None where the file is not there, or is not as it was written."""
    try:
        stated, _, body = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if hashlib.sha256(body).hexdigest().encode() != stated:
        return None
    return json.loads(body)


def write_kept(path: Path, found: Any) -> None:
    """Keeps JSON; where it cannot be kept it is found again, which is slow and not wrong."""
    body = json.dumps(found).encode()
    with suppress(OSError):
        write_bytes(path, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
