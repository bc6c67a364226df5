"""Weights and other whole files of the driver's machine, as actors on other nodes have them.

Each is one object of Ray's. The first actor of a node that needs it unpacks it below the folder of
its Ray's session, where other actors, and later runs over the same content, find it. On the
driver's own node the file itself is used.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.asr.base import Asr
from bench.common.errors import ActorUnusable
from bench.common.kept import code_digest
from bench.execution.cluster import autoscales
from bench.execution.parcels import Parcel, unpacked
from bench.systems.base import System
from pixvox.codec.official import checkpoint_of, is_official
from pixvox.weights import ZOO_PREFIX, place, resolve

_Stat = tuple[int, int, int, int]


@dataclass(frozen=True)
class SentFile:
    """A file, or the files of a folder, under the name that actors look for (pixvox.weights.place).

    `stats` are device, inode, size and time of change on the driver's machine, by file name, and
    `held` the reference of their bytes; None while the driver's node is the only one.
    """

    name: str
    path: Path
    digest: str
    stats: Mapping[str, _Stat]
    held: Any = None


def whole_files(systems: Iterable[System], asrs: Iterable[Asr]) -> dict[str, Path]:
    """All that actors load for systems and ASRs, by the names under which they look for it.

    The zoo is part of the package, and so on every node. Raises as `resolve`, and UserError for
    an ASR's weights.
    """
    systems = list(dict.fromkeys(systems))
    found = weights_files(name for system in systems for name in system.weights_names())
    for system in systems:
        found |= {str(path.absolute()): path for path in system.whole_files()}
    for asr in asrs:
        if asr.placed_as:
            found[asr.placed_as] = asr.locate()
    return found


def weights_files(names: Iterable[str]) -> dict[str, Path]:
    """Where weights are on this machine, by name; of the zoo none, for each node has it."""
    return {
        name: checkpoint_of(name) if is_official(name) else resolve(name)
        for name in dict.fromkeys(names)
        if not name.startswith(ZOO_PREFIX)
    }


class NodeFiles:
    """The driver's side: what is sent, put into Ray once there is another node than its own."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        import ray

        self.home = ray.get_runtime_context().get_node_id()
        self._sent = tuple(_looked_at(name, path) for name, path in files.items())

    def sent(self) -> tuple[SentFile, ...]:
        """What an actor that is started now is given."""
        import ray

        alive = [node for node in ray.nodes() if node["Alive"]]
        # An actor that the driver's node has no room for waits for a node that is yet to come.
        is_lone = all(node["NodeID"] == self.home for node in alive) and not autoscales()
        has_cores = any(node["Resources"].get("CPU") for node in alive)
        if not (is_lone and has_cores) and any(one.held is None for one in self._sent):
            self._sent = tuple(_put(one) for one in self._sent)
        return self._sent


def _files_of(path: Path) -> dict[str, Path]:
    """A file by its name, or those that lie in a folder, without folders below it."""
    if path.is_file():
        return {path.name: path}
    return {one.name: one for one in sorted(path.iterdir()) if one.is_file()}


def _stat(path: Path) -> _Stat:
    known = path.stat()
    return known.st_dev, known.st_ino, known.st_size, known.st_mtime_ns


def _looked_at(name: str, path: Path) -> SentFile:
    path, state = path.absolute(), hashlib.sha256()
    files = _files_of(path)
    for file, at in files.items():
        with at.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        state.update(f"{file}\0{digest}\0".encode())
    stats = {file: _stat(at) for file, at in files.items()}
    return SentFile(name, path, state.hexdigest()[:16], stats)


def _put(one: SentFile) -> SentFile:
    import ray

    held = {file: _content(path) for file, path in _files_of(one.path).items()}
    return SentFile(one.name, one.path, one.digest, one.stats, ray.put(held))


def _content(path: Path) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """A file's bytes `[N]`; mapped, so that Ray's copy is the only one in memory.

    Ray takes plain arrays as they lie; a subclass such as memmap would be copied into the message.
    """
    if not path.stat().st_size:
        return np.zeros(0, np.uint8)
    return np.asarray(np.memmap(path, np.uint8, "r"))


def session_folder() -> Path:
    """The folder for files of this process's node, in that of its Ray's session."""
    import ray

    node = ray._private.worker._global_node
    assert node is not None
    return Path(node.get_session_dir_path()) / "pixvox"


def remove_leftovers() -> None:
    """Removes the folders of actors and workers of this node that were killed."""
    for folder in session_folder().glob("*-[0-9]*"):
        if not Path("/proc", folder.name.rpartition("-")[2]).exists():
            shutil.rmtree(folder, ignore_errors=True)


def take_places(sent: Iterable[SentFile], home: str) -> None:
    """Has this worker find what was sent by its names; `home` is the id of the driver's node."""
    import ray

    # What is compiled here is kept for the node's next workers, and not in a user's home.
    os.environ["XDG_CACHE_HOME"] = str(session_folder() / "cache")
    is_home = ray.get_runtime_context().get_node_id() == home
    for one in sent:
        if one.held is None and not is_home:
            raise RuntimeError(f"{one.name}: not sent yet; this node joined a moment ago")
        place(one.name, partial(_find, one, is_home))


def _find(one: SentFile, is_home: bool) -> Path:
    if is_home and _is_the_driver_s(one):
        return one.path
    folder = session_folder() / one.digest
    target = folder / one.path.name
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            # Once a node: actors that start beside each other wait for the first.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.exists():
                _unpack(one, target)
    return target


def _is_the_driver_s(one: SentFile) -> bool:
    """Whether this process sees the very files that the driver has."""
    try:
        return {file: _stat(path) for file, path in _files_of(one.path).items()} == one.stats
    except OSError:
        return False


def _unpack(one: SentFile, target: Path) -> None:
    import ray

    if one.held is None:
        raise RuntimeError(f"{one.path}: has changed since the run began; run it again")
    partial = target.with_name(f"{target.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for file, content in ray.get(one.held).items():
        content.tofile(partial / file)
    if set(one.stats) == {one.path.name}:
        (partial / one.path.name).replace(target)
        partial.rmdir()
    else:
        partial.replace(target)


def _check_code(driver_s: str) -> None:
    """Raises ActorUnusable on a node whose rows would not be those of the driver's version."""
    if code_digest() != driver_s:
        import ray

        raise ActorUnusable(
            f"node {ray.util.get_node_ip_address()}: has another version of PixVox bench than the "
            "driver; install the same there"
        )


def on_nodes(actor: Any) -> type:
    """The actor's class for nodes that have none of the driver's files.

    It is made with what `NodeFiles` gives, the driver's node and folder, and its arguments as a
    parcel (see bench.execution.parcels), and works on parcels.
    """
    folder, code = Path.cwd(), code_digest()

    class OnNode(actor):
        def __init__(self, sent: tuple[SentFile, ...], home: str, arguments: Parcel) -> None:
            _check_code(code)
            with suppress(OSError):
                # Options of classes of one's own may name files of the driver's folder.
                os.chdir(folder)
            remove_leftovers()
            take_places(sent, home)
            self._folder = session_folder() / f"actor-{os.getpid()}"
            with unpacked(arguments, self._folder) as given:
                super().__init__(*given)

        def work(self, parcel: Parcel) -> Any:
            with unpacked(parcel, self._folder) as message:
                return super().work(message)

    # Ray names processes so, and those who look for them.
    OnNode.__name__ = OnNode.__qualname__ = actor.__name__
    return OnNode
