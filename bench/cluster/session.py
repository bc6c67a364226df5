"""A Ray session: local unless an address is given, quiet, and bound to this machine."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

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
    import ray

    if spec.address:
        ray.init(address=spec.address, log_to_driver=False, logging_level=logging.ERROR)
    else:
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
            _node_ip_address="127.0.0.1",
        )
    try:
        yield
    finally:
        ray.shutdown()


def sizes(spec: ClusterSpec) -> tuple[int, int, bool]:
    """Speakers, listeners, and whether there are GPUs; 0 in the job means as the machine has.

    A GPU each for the speakers where there are GPUs; otherwise one speaker and a listener a
    core, because on CPU listening costs several times what speaking does.
    """
    import ray

    resources = ray.cluster_resources()
    gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    return spec.speakers or max(1, gpus // 2), spec.listeners or max(1, gpus or cpus), gpus > 0
