"""Copies the tables, reports and speech of a finished run to an fsspec address.

A list beside the copies has the content of each file, so that a call that was interrupted is
continued by the next.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from bench.common.errors import RunFailed, UserError
from bench.common.progress import Progress
from bench.common.text import plural, reason_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

T = TypeVar("T")

Content = tuple[int, str]
"""A file's size in bytes and its SHA-256."""
LISTING = "published.json"
"""Names of the copied files → their size in bytes and SHA-256."""
_EXCLUDED = ("ledger", "cache", "tracking")
"""Folders of a run that are not copied: its working state, and trackers' files, which contain
paths of this machine."""
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "hf"}
"""Protocols of fsspec whose folders exist only as parts of names and are not created."""
_WAITS = (1.0, 4.0, 15.0, 60.0)
"""Seconds between the attempts of one copy."""
_LIST_EVERY = 50
"""The list is written after this many files, so at most this many are copied again."""


def check_address(address: str) -> None:
    """Raises UserError for an address of an unknown protocol, or one whose package is missing."""
    _opened(address)


def publish(
    run: Path, address: str, report: Progress, wait: Callable[[float], None] = time.sleep
) -> int:
    """Copies a run's tables, reports and speech to ADDRESS/NAME; returns the number of files.

    Files that are there with the same size and digest are skipped. Each copy is tried five times.
    Raises RunFailed where all five fail; the same call then continues.
    """
    system, place = _opened(address)
    place = f"{place.rstrip('/')}/{run.name}"
    if "file" in _protocols(system) and Path(place).resolve().is_relative_to(run.resolve()):
        raise UserError(f"--publish: {address}: is the run's own folder; name another")
    retry = _Retry(f"{address.rstrip('/')}/{run.name}", wait)
    wanted = {name: (path.stat().st_size, _digest(path)) for name, path in _files(run)}
    existing = retry(lambda: _read_listing(system, place))
    missing = [name for name, content in wanted.items() if existing.get(name) != content]
    done = {name: content for name, content in existing.items() if wanted.get(name) == content}
    for number, name in enumerate(missing, 1):
        retry(partial(_copy, system, run / name, f"{place}/{name}"))
        done[name] = wanted[name]
        report("publishing", number, len(missing))
        if number % _LIST_EVERY == 0 or number == len(missing):
            listing = json.dumps(done, indent=0, sort_keys=True).encode()
            retry(partial(system.pipe_file, f"{place}/{LISTING}", listing))
    return len(missing)


def _opened(address: str) -> "tuple[AbstractFileSystem, str]":
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(address)
    except (ValueError, ImportError) as error:
        raise UserError(
            f"--publish: {address}: {reason_of(error)}; name a folder, or an address such as "
            "s3://BUCKET/FOLDER"
        ) from error


def _protocols(system: "AbstractFileSystem") -> tuple[str, ...]:
    """Returns a file system's names in addresses, such as `s3` and `s3a`."""
    protocol: str | tuple[str, ...] = system.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


class _Retry:
    """Calls a function up to five times, then raises RunFailed naming the address."""

    def __init__(self, where: str, wait: Callable[[float], None]) -> None:
        self._where, self._wait = where, wait

    def __call__(self, attempt: Callable[[], T]) -> T:
        for seconds in (*_WAITS, None):
            try:
                return attempt()
            except Exception as error:
                # Each kind of storage raises its own errors.
                if seconds is None:
                    raise RunFailed(
                        f"{self._where}: not published ({reason_of(error)}); the run is complete "
                        "where it is, and the same command publishes what is missing; tried "
                        + plural(len(_WAITS) + 1, "time")
                    ) from error
                self._wait(seconds)
        raise AssertionError


def _files(run: Path) -> Iterator[tuple[str, Path]]:
    """Yields the files to copy, with their names below the run's folder."""
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run)
        if name.parts[0] in _EXCLUDED or any(part.startswith(".") for part in name.parts):
            continue
        if path.is_file():
            yield name.as_posix(), path


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_listing(system: "AbstractFileSystem", place: str) -> dict[str, Content]:
    """Returns the files that were copied before and still have the listed size."""
    try:
        listed: dict[str, Any] = json.loads(system.cat_file(f"{place}/{LISTING}"))
    except FileNotFoundError:
        return {}
    except ValueError:
        # The list was written in part.
        return {}
    root = str(system._strip_protocol(place))
    sizes = {
        name.removeprefix(f"{root}/"): entry["size"]
        for name, entry in system.find(place, detail=True).items()
    }
    return {
        name: (size, digest) for name, (size, digest) in listed.items() if sizes.get(name) == size
    }


def _copy(system: "AbstractFileSystem", path: Path, target: str) -> None:
    if _OBJECT_STORES.isdisjoint(_protocols(system)):
        # In a file system the folder must exist. In an object store, a missing bucket is an error.
        system.makedirs(target.rpartition("/")[0], exist_ok=True)
    system.put_file(str(path), target)
