"""Sends weights and other complete files from the driver's machine to actors on other nodes.

Each file is one Ray object. The first actor of a node that needs it writes it below the folder of
the Ray session, under its digest, where other actors and later runs use it. On the driver's own
node the file itself is used.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.asr.base import Asr
from bench.common.cachefiles import code_digest
from bench.common.errors import ActorUnusable
from bench.execution.cluster import autoscales
from bench.execution.parcels import Parcel, unpack
from bench.systems.base import System
from pixvox.codec.official import checkpoint_of, is_official
from pixvox.weights import ZOO_PREFIX, place, resolve

_Stat = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class SentFile:
    """A file or a folder's files, by the name under which actors ask for it (pixvox.weights.place).

    `stats` are device, inode, size and time of change on the driver's machine, by file name.
    `content` is the Ray reference of the bytes; None while the driver's node is the only one.
    """

    name: str
    path: Path
    digest: str
    stats: Mapping[str, _Stat]
    content: Any = None


def whole_files(systems: Iterable[System], asrs: Iterable[Asr]) -> dict[str, Path]:
    """Returns the paths that actors load for systems and ASRs, by the names they ask for.

    Raises WeightsError as `pixvox.weights.resolve`, and UserError for an ASR's weights.
    """
    systems = list(dict.fromkeys(systems))
    paths = weights_files(name for system in systems for name in system.weights_names())
    for system in systems:
        paths |= {str(path.absolute()): path for path in system.whole_files()}
    for asr in asrs:
        if asr.placed_as:
            paths[asr.placed_as] = asr.locate()
    return paths


def weights_files(names: Iterable[str]) -> dict[str, Path]:
    """Returns the paths of weights on this machine, by name.

    The zoo is left out: it is part of the package, which every node has.
    """
    return {
        name: checkpoint_of(name) if is_official(name) else resolve(name)
        for name in dict.fromkeys(names)
        if not name.startswith(ZOO_PREFIX)
    }


class NodeFiles:
    """The driver's side: puts files into Ray once there is another node than the driver's."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        import ray

        self.home = ray.get_runtime_context().get_node_id()
        self._sent = tuple(_describe_file(name, path) for name, path in files.items())

    def sent(self) -> tuple[SentFile, ...]:
        """Returns the files for an actor that is started now."""
        import ray

        alive = [node for node in ray.nodes() if node["Alive"]]
        # Without cores on the driver's node, or with an autoscaler, the actor may start on a node
        # that joins later.
        is_lone = all(node["NodeID"] == self.home for node in alive) and not autoscales()
        has_cores = any(node["Resources"].get("CPU") for node in alive)
        if not (is_lone and has_cores) and any(file.content is None for file in self._sent):
            self._sent = tuple(_put(file) for file in self._sent)
        return self._sent


def _files_of(path: Path) -> dict[str, Path]:
    """Returns a file, or the files directly in a folder, by their names."""
    if path.is_file():
        return {path.name: path}
    return {entry.name: entry for entry in sorted(path.iterdir()) if entry.is_file()}


def _stat(path: Path) -> _Stat:
    known = path.stat()
    return known.st_dev, known.st_ino, known.st_size, known.st_mtime_ns


def _describe_file(name: str, path: Path) -> SentFile:
    """Returns the digest and stats of a file or folder, without its content."""
    path, state = path.absolute(), hashlib.sha256()
    files = _files_of(path)
    for file, at in files.items():
        with at.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        state.update(f"{file}\0{digest}\0".encode())
    stats = {file: _stat(at) for file, at in files.items()}
    return SentFile(name=name, path=path, digest=state.hexdigest()[:16], stats=stats)


def _put(file: SentFile) -> SentFile:
    """Puts the bytes of a file into Ray's object store."""
    import ray

    content = {name: _read_mapped(path) for name, path in _files_of(file.path).items()}
    return replace(file, content=ray.put(content))


def _read_mapped(path: Path) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """Returns a file's bytes `[N]`, memory-mapped, so that Ray's copy is the only one in memory.

    Ray stores plain arrays out of band; it would pickle a subclass such as memmap.
    """
    if not path.stat().st_size:
        return np.zeros(0, np.uint8)
    return np.asarray(np.memmap(path, np.uint8, "r"))


def session_folder() -> Path:
    """Returns this node's folder for sent files, inside the folder of its Ray session."""
    import ray

    node = ray._private.worker._global_node
    assert node is not None
    return Path(node.get_session_dir_path()) / "pixvox"


def remove_leftovers() -> None:
    """Removes the folders of this node's actors and workers whose process has ended."""
    for folder in session_folder().glob("*-[0-9]*"):
        if not Path("/proc", folder.name.rpartition("-")[2]).exists():
            shutil.rmtree(folder, ignore_errors=True)


def take_places(sent: Iterable[SentFile], home: str) -> None:
    """Registers sent files with pixvox.weights in this worker; `home` is the driver's node id."""
    import ray

    # Compiled code is cached for the node's next workers, and not in a user's home.
    os.environ["XDG_CACHE_HOME"] = str(session_folder() / "cache")
    is_home = ray.get_runtime_context().get_node_id() == home
    for file in sent:
        if file.content is None and not is_home:
            raise RuntimeError(f"{file.name}: not sent yet; this node joined a moment ago")
        place(file.name, partial(_find, file, is_home))


def _find(file: SentFile, is_home: bool) -> Path:
    """Returns the path of a sent file on this node; writes the file if it is not there yet."""
    if is_home and _is_the_driver_s(file):
        return file.path
    folder = session_folder() / file.digest
    target = folder / file.path.name
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            # The node's other actors wait for the first, so that each file is written once.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.exists():
                _unpack(file, target)
    return target


def _is_the_driver_s(file: SentFile) -> bool:
    """Returns whether this process can read the driver's own files, unchanged."""
    try:
        stats = {name: _stat(path) for name, path in _files_of(file.path).items()}
    except OSError:
        return False
    return stats == file.stats


def _unpack(file: SentFile, target: Path) -> None:
    """Writes the bytes of a sent file to `target`, a file or a folder."""
    import ray

    if file.content is None:
        raise RuntimeError(f"{file.path}: has changed since the run began; run it again")
    partial = target.with_name(f"{target.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for name, content in ray.get(file.content).items():
        content.tofile(partial / name)
    if set(file.stats) == {file.path.name}:
        (partial / file.path.name).replace(target)
        partial.rmdir()
    else:
        partial.replace(target)


def _check_code(drivers_digest: str) -> None:
    """Raises ActorUnusable on a node with another version of the suite than the driver's."""
    if code_digest() != drivers_digest:
        import ray

        raise ActorUnusable(
            f"node {ray.util.get_node_ip_address()}: has another version of PixVox bench than the "
            "driver; install the same there"
        )


def on_nodes(actor: Any) -> type:
    """Returns a subclass of the actor for nodes that have none of the driver's files.

    Its constructor gets the files of `NodeFiles.sent`, the id of the driver's node, and the actor's
    own arguments as a parcel (bench.execution.parcels). Its `work` gets parcels.
    """
    folder, code = Path.cwd(), code_digest()

    class OnNode(actor):
        def __init__(self, sent: tuple[SentFile, ...], home: str, arguments: Parcel) -> None:
            _check_code(code)
            with suppress(OSError):
                # Options of a user's own classes may name files relative to the driver's folder.
                os.chdir(folder)
            remove_leftovers()
            take_places(sent, home)
            self._folder = session_folder() / f"actor-{os.getpid()}"
            with unpack(arguments, self._folder) as given:
                super().__init__(*given)

        def work(self, parcel: Parcel) -> Any:
            with unpack(parcel, self._folder) as message:
                return super().work(message)

    # Ray names the process after the class, and users look for that name.
    OnNode.__name__ = OnNode.__qualname__ = actor.__name__
    return OnNode
