"""A Ray session: local unless an address is given, quiet, and bound to this machine."""

import logging
import math
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.spec import ClusterSpec

OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Rows are small (units, never audio), so a quarter of a gigabyte is ample."""


@contextmanager
def ray_session(spec: ClusterSpec) -> Iterator[None]:
    """Starts or joins Ray, and leaves it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Otherwise Ray rebuilds the driver's uv environment in every worker.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    # Actors that ask for no GPU must not see them.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    if not spec.address:
        # Despite its name this is what has Ray take the loopback address, on Linux too; a node
        # address of 127.0.0.1 it would replace by one that others can reach.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray

    # Where a worker has an environment of its own, as in Ray Train, Ray hands the interpreter to a
    # shell unquoted: under a path with a space it would not start.
    python = shlex.quote(sys.executable)
    environment = {"py_executable": python} if python != sys.executable else None
    if spec.address:
        ray.init(address=spec.address, log_to_driver=False, logging_level=logging.ERROR)
    else:
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
            runtime_env=environment,
        )
    try:
        yield
    finally:
        ray.shutdown()


@dataclass(frozen=True)
class Sizes:
    """How many actors of each kind, and the share of a GPU or core that each asks Ray for."""

    speakers: int
    listeners: int
    gpu: float
    cpu: float


def _share(actors: int, units: int) -> float:
    """A whole unit each where there are enough, else an equal part: Ray splits none over two."""
    return 1 / math.ceil(actors / units) if units else 0.0


def sizes(spec: ClusterSpec, gpus: int, cpus: int) -> Sizes:
    """0 in the job means as the machine has; whatever is asked for, every actor can be placed.

    GPUs are divided between speakers and listeners. Without any there is one speaker, and a
    listener a core, because on CPU listening costs several times what speaking does.
    """
    speakers = spec.speakers or max(1, gpus // 2)
    listeners = spec.listeners or (max(1, gpus - speakers) if gpus else max(1, cpus))
    gpu = _share(speakers + listeners, gpus)
    return Sizes(speakers, listeners, gpu, 0.0 if gpus else _share(listeners, cpus))
