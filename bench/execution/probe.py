"""Asks a Ray cluster for its versions: `python -m bench.execution.probe ADDRESS`.

It runs in a process of its own, because Ray's C++ code waits for minutes where nothing answers, and
aborts its process on some errors. An alarm ends the process in time, and its output is discarded.
"""

import json
import signal
import sys
from typing import Any

ANSWER_SECONDS = 8
ALARM_SECONDS = 20
"""Seconds until the process is ended, counted from when Ray has been imported."""


def ask(address: str) -> dict[str, Any]:
    """Returns the cluster's `address` and versions (`ray`, `python`), or a `fault` and its reason.

    The reason is `said`. A fault is `token`, `outside` (this machine is no node of the cluster; the
    versions are given too) or `other`.
    """
    from ray._private import ray_constants, services
    from ray.exceptions import AuthenticationError

    # The signal ends the process even while Ray's C++ code waits.
    signal.alarm(ALARM_SECONDS)
    try:
        resolved = services.canonicalize_bootstrap_address(address)
        client = services.GcsClient(address=resolved)
        metadata = client.internal_kv_get(
            b"CLUSTER_METADATA",
            namespace=ray_constants.KV_NAMESPACE_CLUSTER,
            timeout=ANSWER_SECONDS,
        )
    except AuthenticationError as error:
        return {"fault": "token", "said": error.message}
    except Exception as error:
        return {"fault": "other", "said": str(error)}
    versions = json.loads(metadata) if metadata else {}
    known = {"ray": versions.get("ray_version"), "python": versions.get("python_version")}
    try:
        services.get_node_to_connect_for_driver(client)
    except RuntimeError as error:
        return known | {"fault": "outside", "said": str(error)}
    return known | {"address": resolved}


if __name__ == "__main__":
    print(json.dumps(ask(sys.argv[1])))
