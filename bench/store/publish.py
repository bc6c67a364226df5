"""Copies what a finished run has made to another place, which any fsspec address names.

The run stays where it is: what is copied is derived from its ledger and can be copied again. A list
beside the copies says which content each has, so that a copy that was cut short is continued.
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
_KEPT_BACK = ("ledger", "cache", "tracking")
"""Folders of a run that are not copied: its working state, and trackers' files, which hold the
paths of this machine."""
_OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "hf"}
"""Protocols of fsspec whose folders are parts of names: only a bucket can be made there."""
_WAITS = (1.0, 4.0, 15.0, 60.0)
"""Seconds between the tries of one copy."""
_LIST_EVERY = 50
"""Files between two writes of the list, at most that many are copied again."""


def check_address(address: str) -> None:
    """Raises UserError for an address of no known protocol, or one whose package is missing."""
    _opened(address)


def publish(
    run: Path, address: str, report: Progress, wait: Callable[[float], None] = time.sleep
) -> int:
    """Copies a run's tables, reports and speech to ADDRESS/NAME; gives how many were copied.

    What is there with the same size and digest is skipped. Each copy is tried several times. Raises
    RunFailed where one fails for good; the same call continues.
    """
    system, place = _opened(address)
    place = f"{place.rstrip('/')}/{run.name}"
    if "file" in _protocols(system) and Path(place).resolve().is_relative_to(run.resolve()):
        raise UserError(f"--publish: {address}: is the run's own folder; name another")
    retry = _Retry(f"{address.rstrip('/')}/{run.name}", wait)
    wanted = {name: (path.stat().st_size, _digest(path)) for name, path in _files(run)}
    there = retry(lambda: _there(system, place))
    missing = [name for name, content in wanted.items() if there.get(name) != content]
    done = {name: content for name, content in there.items() if wanted.get(name) == content}
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
    """A file system's names in addresses, such as `s3` and `s3a`."""
    protocol: str | tuple[str, ...] = system.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


class _Retry:
    """Tries what the network may refuse several times, then raises RunFailed that names where."""

    def __init__(self, where: str, wait: Callable[[float], None]) -> None:
        self._where, self._wait = where, wait

    def __call__(self, attempt: Callable[[], T]) -> T:
        for seconds in (*_WAITS, None):
            try:
                return attempt()
            except Exception as error:
                # Each kind of storage raises errors of its own.
                if seconds is None:
                    raise RunFailed(
                        f"{self._where}: not published ({reason_of(error)}); the run is complete "
                        "where it is, and the same command publishes what is missing; tried "
                        + plural(len(_WAITS) + 1, "time")
                    ) from error
                self._wait(seconds)
        raise AssertionError


def _files(run: Path) -> Iterator[tuple[str, Path]]:
    """What a run has made for people, by its name below the run's folder."""
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run)
        if name.parts[0] in _KEPT_BACK or any(part.startswith(".") for part in name.parts):
            continue
        if path.is_file():
            yield name.as_posix(), path


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _there(system: "AbstractFileSystem", place: str) -> dict[str, Content]:
    """What was copied before, of the files that still have the size that was copied."""
    try:
        listed: dict[str, Any] = json.loads(system.cat_file(f"{place}/{LISTING}"))
    except FileNotFoundError:
        return {}
    except ValueError:
        # Its writing was cut short.
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
        # File systems want folders first. A bucket that is not there is a mistake in the address.
        system.makedirs(target.rpartition("/")[0], exist_ok=True)
    system.put_file(str(path), target)
