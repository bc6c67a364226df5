"""Facts that are slow to compute, cached below `$XDG_CACHE_HOME/pixvox`; it may be removed.

The name of a cache file is a digest of all that its facts depend on, including this code and the
versions of the libraries, so that a cached fact is never out of date.
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


def cached_json(keys: Sequence[str], compute: Callable[[], Any]) -> Any:
    """Returns the JSON that `compute` returns, from the cache where these keys have been used.

    `keys` are the digests and settings that it depends on. What `compute` raises is not cached.
    """
    name = hashlib.sha256(json.dumps([*keys, _versions()]).encode()).hexdigest()[:16]
    path = cache_folder() / f"facts-{name}.json"
    content = read_checked(path)
    if content is None:
        content = compute()
        write_checked(path, content)
    return content


def _versions() -> list[str]:
    """Returns the digest of this code and the versions of the libraries that facts depend on."""
    return [code_digest(), *map(importlib.metadata.version, _LIBRARIES)]


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Returns the SHA-256 of the suite's and the model's Python files, in hex."""
    state = hashlib.sha256()
    for package in (bench, pixvox):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*.py")):
            state.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return state.hexdigest()


def read_checked(path: Path) -> Any:
    """Returns the JSON of a cache file; None where it is missing or its checksum is wrong."""
    try:
        stated, _, body = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if hashlib.sha256(body).hexdigest().encode() != stated:
        return None
    return json.loads(body)


def write_checked(path: Path, content: Any) -> None:
    """Writes JSON with its checksum to a cache file; ignores errors of the disk."""
    body = json.dumps(content).encode()
    with suppress(OSError):
        write_bytes(path, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
