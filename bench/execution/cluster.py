"""The Ray that a command uses: finds its address, checks that it can be joined, and its size."""

import json
import os
import platform
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.common.errors import RunFailed, UserError
from bench.common.text import clean, plural
from bench.execution.nearby import address_here
from bench.execution.probe import ANSWER_SECONDS

LOCAL, AUTO = "local", "auto"
CONNECT_SECONDS = 5.0
_SET = "--address, the job's address or RAY_ADDRESS"
_SUBMITTED = ("runtime_resources", "working_dir_files")
"""Ray's folders below which `ray job submit --working-dir` unpacks the files that it sends."""
_NAMED = 4
"""A line names at most this many nodes and counts the rest."""


def find_cluster(address: str | None) -> str | None:
    """Returns the HOST:PORT of the cluster at an address or, without one, at RAY_ADDRESS.

    Returns None for a Ray that the command starts itself: without an address, or with `local`. The
    check takes at most 30 s. Where the cluster requires a token and the user has one, Ray is set
    to send it. Raises UserError for settings to correct, RunFailed where no cluster answers.
    """
    address = address or os.environ.get("RAY_ADDRESS") or LOCAL
    if address == LOCAL:
        return None
    if address == AUTO:
        address = address_here(_SET)
    _check_port(address)
    source, mode = token_source(), os.environ.get("RAY_AUTH_MODE")
    if mode == "token" and not source:
        raise UserError(_without_token("RAY_AUTH_MODE: token"))
    answer = _answer(address, mode)
    if answer.get("fault") == "token" and mode is None and source:
        # Ray sends a token only in this mode. It is not the default, because a driver in this mode
        # refuses the workers of a cluster without tokens.
        answer = _answer(address, "token")
        if "address" in answer:
            _send_token()
    _check_answer(address, answer, source)
    return str(answer["address"])


def refuse_submitted(folder: Path, option: str) -> None:
    """Raises UserError for a folder below the one that `ray job submit` unpacks a job into.

    Each submission gets another such folder, so a run in it could not be resumed. `option` is the
    option that sets the folder.
    """
    parts = folder.absolute().parts
    if all(name in parts for name in _SUBMITTED):
        raise UserError(
            f"{folder}: is in the temporary folder of ray job submit, which later submissions do "
            f"not have; give an absolute path with {option} on a permanent disk"
        )


def token_source() -> str:
    """Returns the variable or file that holds the user's Ray token; "" where there is none.

    Raises UserError where RAY_AUTH_TOKEN_PATH names no token: Ray would end every session.
    """
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN"
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    try:
        path = Path(named) if named else Path.home() / ".ray" / "auth_token"
        if path.read_text().strip():
            return str(path)
    except (OSError, UnicodeDecodeError, RuntimeError):
        # RuntimeError: neither HOME nor the list of users names a home, as in a container.
        pass
    if named and os.environ.get("RAY_AUTH_MODE") != "disabled":
        raise UserError(f"RAY_AUTH_TOKEN_PATH: {named}: no token there; correct or unset it")
    return ""


def _check_port(address: str) -> None:
    """Raises UserError for an address that is not HOST:PORT, RunFailed if nothing listens there."""
    if "://" in address:
        what = "Ray Client is not supported"
        if not address.startswith("ray://"):
            # RAY_ADDRESS may hold it, because ray job submit reads that variable too.
            what = "is for ray job submit, not the cluster's own address"
        raise UserError(
            f"{address}: {what}; run the driver on a node of the cluster (ray job submit), with "
            "the address HOST:PORT that ray start --head prints"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UserError(f"{address}: not an address; write HOST:PORT, auto or local ({_SET})")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, UnicodeError) as error:
        raise RunFailed(
            f"no Ray cluster at {address} ({error}); start it, or correct {_SET}"
        ) from error


def _answer(address: str, mode: str | None) -> Mapping[str, Any]:
    """Returns the answer of bench.execution.probe, with Ray's authentication in this mode."""
    limit = {"RAY_gcs_server_request_timeout_seconds": str(ANSWER_SECONDS)}
    environment = os.environ | limit | ({"RAY_AUTH_MODE": mode} if mode else {})
    command = [sys.executable, "-m", "bench.execution.probe", address]
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            text=True,
        )
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        return {"fault": "other", "said": ""}
    return answer


def _check_answer(address: str, answer: Mapping[str, Any], source: str) -> None:
    """Raises UserError or RunFailed for a cluster that cannot be joined, with what to do."""
    fault, said = answer.get("fault", ""), clean(" ".join(str(answer.get("said", "")).split()))
    if fault == "token":
        if os.environ.get("RAY_AUTH_MODE") == "disabled":
            raise UserError(f"{address}: requires a token; unset RAY_AUTH_MODE, now disabled")
        if not source:
            raise UserError(_without_token(f"{address}: requires a token"))
        raise UserError(
            f"{address}: refuses the token of {source}; put the cluster's own there, which ray "
            "get-auth-token prints on its head node"
        )
    if fault == "other":
        reason = f" ({said[:200]})" if said else ""
        raise RunFailed(
            f"{address}: does not answer as a Ray cluster{reason}; give the address that ray start "
            "--head prints, whose port is 6379 where none was chosen"
        )
    theirs = (answer["ray"], answer["python"])
    ours = (version("ray"), platform.python_version())
    if all(theirs) and theirs != ours:
        raise UserError(
            f"{address}: runs Ray {theirs[0]} on Python {theirs[1]}, and this environment has "
            f"Ray {ours[0]} on Python {ours[1]}; install the same versions on both"
        )
    if fault == "outside":
        raise UserError(
            f"{address}: this machine is no node of that cluster; run the command on a node (ray "
            f"job submit), or join the cluster: ray start --address={address} --num-cpus=0"
        )


def _without_token(what: str) -> str:
    return (
        f"{what}, and there is none here; set RAY_AUTH_TOKEN to what ray get-auth-token prints on "
        "the cluster's head node, or put it into ~/.ray/auth_token"
    )


def _send_token() -> None:
    """Sets Ray to send the token, in this process and its children."""
    os.environ["RAY_AUTH_MODE"] = "token"
    if "ray" in sys.modules:
        # Ray read the variable when it was imported, so it has to read it again.
        import ray

        ray._raylet.Config.initialize("")


@dataclass(frozen=True)
class Machines:
    """A Ray's living nodes, cores, and GPUs by kind ("GPU" where Ray does not know the kind)."""

    nodes: int
    cores: int
    gpus: Mapping[str, int]

    @property
    def gpu_count(self) -> int:
        """The number of GPUs of all kinds."""
        return sum(self.gpus.values())

    @property
    def described(self) -> str:
        """The text for a line, as `2 nodes, 48 cores, 8 GPUs (4 A100, 4 T4)`."""
        total = self.gpu_count
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.gpus.items()))
        named = f" ({kinds})" if total and set(self.gpus) != {"GPU"} else ""
        gpus = f"{plural(total, 'GPU')}{named}" if total else "no GPU"
        return f"{plural(self.nodes, 'node')}, {plural(self.cores, 'core')}, {gpus}"


def print_ray(address: str | None, has: Machines) -> None:
    """Prints which Ray a command uses, with its nodes, cores and GPUs."""
    print(f"Ray {f'at {address}' if address else 'on this machine'}: {has.described}")


_KIND = "accelerator_type:"


def sum_resources(nodes: Iterable[Mapping[str, Any]]) -> Machines:
    """Returns the sum over the living nodes of `ray.nodes()`."""
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    gpus: Counter[str] = Counter()
    for resources in alive:
        if count := int(resources.get("GPU", 0)):
            kinds = [name.removeprefix(_KIND) for name in resources if name.startswith(_KIND)]
            gpus["/".join(sorted(kinds)) or "GPU"] += count
    cores = sum(int(resources.get("CPU", 0)) for resources in alive)
    return Machines(len(alive), cores, dict(gpus))


def most_gpus() -> int:
    """Returns how many GPUs the joined cluster's autoscaler can scale to; 0 without one."""
    from ray._private.state import state

    return int((state.get_max_resources_from_cluster_config() or {}).get("GPU", 0))


def autoscales() -> bool:
    """Returns whether the joined cluster has an autoscaler, which may start further nodes."""
    from ray._private.state import state

    return bool(state.get_max_resources_from_cluster_config())


def names_of(nodes: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Returns the IP address of each node id, with part of the id where nodes share an address."""
    addresses = {node["NodeID"]: node["NodeManagerAddress"] for node in nodes}
    shared = Counter(addresses.values())
    return {
        node: address if shared[address] == 1 else f"{address} ({node[:6]})"
        for node, address in addresses.items()
    }


def describe_placement(kinds: Mapping[str, Sequence[str]], names: Mapping[str, str]) -> str:
    """Returns where actors run, as `1 generator, 3 transcribers on each of 10.0.0.1, 10.0.0.2`.

    `kinds` holds the node id of each actor by kind of actor, and `names` the nodes' names; a node
    without a name is this machine.
    """
    on: dict[str, list[str]] = {}
    for kind, nodes in kinds.items():
        for node, count in Counter(nodes).items():
            on.setdefault(names.get(node, "this machine"), []).append(plural(count, kind))
    alike: dict[str, list[str]] = {}
    for node, actors in sorted(on.items()):
        alike.setdefault(", ".join(actors), []).append(node)
    return "; ".join(f"{actors} on {_listed(nodes)}" for actors, nodes in alike.items())


def _listed(nodes: Sequence[str]) -> str:
    if len(nodes) == 1:
        return nodes[0]
    more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
    return f"each of {', '.join(nodes[:_NAMED])}{more}"
