"""Asks a Ray cluster who it is, in a process of its own: `python -m bench.execution.probe ADDRESS`.

Ray's C++ waits for minutes where nothing answers, and aborts for some of its reasons. Here an alarm
and an exit status bound both, and what it prints on the way reaches nobody.
"""

import json
import signal
import sys
from typing import Any

ANSWER_SECONDS = 8
ALARM_SECONDS = 20
"""How long asking may take once Ray is imported, which takes a busy machine as long again."""


def ask(address: str) -> dict[str, Any]:
    """The cluster's `address` and versions (`ray`, `python`), or the `fault` and what was `said`.

    A fault is `token`, `outside` (this machine is no node of it) or `other`.
    """
    from ray._private import ray_constants, services
    from ray.exceptions import AuthenticationError

    # Ends the process, whatever Ray's C++ waits for.
    signal.alarm(ALARM_SECONDS)
    try:
        resolved = services.canonicalize_bootstrap_address(address)
        client = services.GcsClient(address=resolved)
        held = client.internal_kv_get(
            b"CLUSTER_METADATA",
            namespace=ray_constants.KV_NAMESPACE_CLUSTER,
            timeout=ANSWER_SECONDS,
        )
    except AuthenticationError as error:
        return {"fault": "token", "said": error.message}
    except Exception as error:
        return {"fault": "other", "said": str(error)}
    versions = json.loads(held) if held else {}
    known = {"ray": versions.get("ray_version"), "python": versions.get("python_version")}
    try:
        services.get_node_to_connect_for_driver(client)
    except RuntimeError as error:
        return known | {"fault": "outside", "said": str(error)}
    return known | {"address": resolved}


if __name__ == "__main__":
    print(json.dumps(ask(sys.argv[1])))
