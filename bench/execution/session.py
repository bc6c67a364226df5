"""A Ray session: in a cluster, or local, without output and reachable from this machine only."""

import logging
import os
import secrets
import shlex
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from bench.common import supervisor
from bench.common.errors import RunFailed
from bench.common.processes import below, kill, state
from bench.common.scratch import short_folder
from bench.common.text import reason_of
from bench.execution.cluster import token_source
from pixvox.cache import is_writable

OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Size of the object store. It holds the units and speech of a few batches, about 0.1 MB a row."""
_TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"
_SERVERS = ("gcs_server", "raylet")
_LOOK_SECONDS = 0.25
_STOPPED_SECONDS = 30.0
_LEAVING_SECONDS = 15.0


@contextmanager
def ray_session(address: str | None = None, modules: Sequence[str] = ()) -> Iterator[None]:
    """Joins the cluster at an address from `find_cluster`, or starts a local Ray; ends it after.

    `modules` are Python files and packages that are sent to a cluster's workers. Raises RunFailed
    where Ray does not start.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Otherwise Ray rebuilds the driver's uv environment in every worker.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    # Actors that ask for no GPU must not see them.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    with _local() if address is None else _joined(address, modules):
        yield


@contextmanager
def _joined(address: str, modules: Sequence[str]) -> Iterator[None]:
    import ray

    with _starting():
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"py_modules": list(modules)} if modules else None,
        )
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _local() -> Iterator[None]:
    token_source()
    # Despite its name this setting makes Ray use the loopback address on Linux too. Ray would
    # replace an explicit node address of 127.0.0.1 by one that other machines can reach.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    # Ray's default is a minute. While Ray starts it may hold the interpreter's lock, and then only
    # Ray itself can notice that its gcs_server died.
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "10")
    import ray

    # For workers with their own environment, as in Ray Train, Ray passes the interpreter's path to
    # a shell without quotes, so a path with a space would not start.
    python = shlex.quote(sys.executable)
    environment = {"py_executable": python} if python != sys.executable else None
    with short_folder() as folder, _token(folder):
        watch = _Watch()
        watch.start()
        # Otherwise Ray's workers search the current folder before the installed packages, and a
        # `bench` or `whisper.py` there would be imported instead.
        job = ray.job_config.JobConfig()
        job._runtime_env_has_working_dir = lambda: True
        try:
            with _starting():
                ray.init(
                    address="local",
                    num_gpus=mig_slices(),
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    object_store_memory=OBJECT_STORE_BYTES,
                    _temp_dir=str(folder),
                    runtime_env=environment,
                    job_config=job,
                )
            yield
        finally:
            watch.leave()
            ray.shutdown()
            watch.end()


@lru_cache(maxsize=1)
def _secret() -> str:
    """Returns this process's token; it is the same for every session, as Ray reads it once."""
    return secrets.token_hex(32)


@contextmanager
def _token(folder: Path) -> Iterator[None]:
    """Stores a local Ray's token in `folder` if Ray cannot store one in the user's home."""
    try:
        home = Path.home() / ".ray"
        usable = os.access(home / "auth_token", os.R_OK) or is_writable(home)
    except RuntimeError:
        # Neither HOME nor the list of users names a home folder.
        usable = False
    if usable or "RAY_AUTH_TOKEN" in os.environ or _TOKEN_PATH in os.environ:
        yield
        return
    path = folder / "token"
    path.touch(mode=0o600)
    path.write_text(_secret(), encoding="utf-8")
    os.environ[_TOKEN_PATH] = str(path)
    try:
        yield
    finally:
        del os.environ[_TOKEN_PATH]


def mig_slices() -> int | None:
    """Returns the number of MIG slices in CUDA_VISIBLE_DEVICES; None if it names anything else.

    Ray itself counts the physical GPUs, so that a GPU cut into seven would serve one actor.
    """
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return len(visible) if all(name.startswith("MIG-") for name in visible) else None


@contextmanager
def _starting() -> Iterator[None]:
    """Raises RunFailed where Ray does not start, and restores the handler of SIGTERM.

    Ray's own handler raises SystemExit inside its C++ callbacks, which then abort the process.
    """
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except Exception as error:
        # On a busy machine Ray raises Exception itself, not a subclass.
        raise RunFailed(f"Ray did not start: {reason_of(error)}; try again") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


class _Watch(threading.Thread):
    """Ends a supervised command when a server process of Ray dies, or is stopped for 30 s.

    Ray itself takes a minute to notice a dead gcs_server, and waits forever for a stopped raylet.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._servers: dict[int, str] = {}
        self._leaving, self._ended = threading.Event(), threading.Event()

    def run(self) -> None:
        stopped = 0.0
        while not self._leaving.wait(_LOOK_SECONDS):
            if len(self._servers) < len(_SERVERS):
                names = {pid: Path(name).name for pid, name in below(os.getpid()).items()}
                self._servers |= {pid: name for pid, name in names.items() if name in _SERVERS}
            states = {pid: state(pid) for pid in self._servers}
            if "" in states.values():
                died = next(self._servers[pid] for pid, letter in states.items() if not letter)
                self._lost(f"Ray's {died} died")
                return
            stopped = stopped + _LOOK_SECONDS if "T" in states.values() else 0.0
            if stopped > _STOPPED_SECONDS:
                self._lost("one of Ray's processes is stopped")
                return
        if not self._ended.wait(_LEAVING_SECONDS):
            for pid in self._servers:
                kill(pid)

    def _lost(self, what: str) -> None:
        if supervisor.supervised() and not self._leaving.is_set():
            supervisor.abandon(f"{what}; finished work is kept. Run the same command again")

    def leave(self) -> None:
        """Stops watching: Ray ends its processes now. Kills them if `end` is not called in time."""
        self._leaving.set()

    def end(self) -> None:
        """Waits for this thread, after Ray has ended its processes."""
        self._ended.set()
        self.join()
