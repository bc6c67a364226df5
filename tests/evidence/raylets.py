"""A Ray cluster on this machine whose nodes are as separate as the machine allows.

The first node is the driver's and has no core. Each node has its own folder, HOME and cache. For
root, nodes can be `isolated`: hidden paths are empty there (a mount namespace), and each except the
driver's has its own address (a network namespace on a bridge).
"""

import os
import random
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.common.errors import RunFailed
from bench.common.processes import below, kill
from bench.execution.nearby import CURRENT

_START_SECONDS = 300.0
_STORE_BYTES = 256 * 1024 * 1024
_TOOLS = ("unshare", "mount", "ip")
_DRIVERS_OWN = (
    "RAY_ADDRESS",
    "RAY_AUTH_TOKEN_PATH",
    "TMPDIR",
    # For a local Ray (bench.execution.session); a raylet of a cluster refuses to start with it.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER",
)
"""Variables of the driver that a node does not inherit."""

_ISOLATED = """
echo; read -r _
if [ -n "$1" ]; then
  ip link set lo up && ip address add "$1/24" dev eth0 && ip link set eth0 up || exit 1
fi
shift
while [ "$1" != -- ]; do
  if [ -d "$1" ]; then mount -t tmpfs none "$1"; else mount --bind /dev/null "$1"; fi || exit 1
  shift
done
shift
cd work && exec "$@" > ../log 2>&1
"""
"""What a node's shell does in its namespaces: address, hidden paths, --, then the command."""


def can_isolate() -> bool:
    """Returns whether this process may create namespaces, and has the tools for them."""
    return os.geteuid() == 0 and all(shutil.which(tool) for tool in _TOOLS)


@dataclass(frozen=True)
class Node:
    """A node's folder, and the `ray start` that has all its processes below it."""

    folder: Path
    process: "subprocess.Popen[bytes]"

    @property
    def ray_folder(self) -> Path:
        """Ray's temporary folder: the only one in which a node's processes may write."""
        return self.folder / "r"

    @property
    def address(self) -> str:
        """The cluster's HOST:PORT once the node has joined it; "" before."""
        try:
            return (self.ray_folder / CURRENT).read_text().strip()
        except OSError:
            return ""

    @property
    def processes(self) -> dict[int, str]:
        """The names of the node's processes."""
        return below(self.process.pid)

    def end(self) -> None:
        """Kills all processes of the node at once, as if the machine failed."""
        if self.process.poll() is None:
            for pid in (self.process.pid, *self.processes):
                kill(pid)
            self.process.wait()


class Raylets:
    """A cluster of the driver's node and `count` others of one core each, below a short folder.

    Entering starts it; `settings` are variables of the nodes' environment. Raises RunFailed where
    a node does not start.
    """

    def __init__(
        self,
        folder: Path,
        count: int,
        *,
        hidden: Sequence[Path] = (),
        isolated: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._folder, self._count = folder, count
        self._settings = dict(settings or {})
        self._hidden, self._isolated = [str(path) for path in hidden], isolated
        self._secret = secrets.token_hex(32)
        self._bridge = f"pv{secrets.token_hex(3)}"
        # Hardly a network that a machine is in.
        self._subnet = f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(250)}"
        self._started = 0
        self._head: Node | None = None
        self._others: list[Node] = []
        self._ended: list[Node] = []

    def __enter__(self) -> Self:
        if self._isolated:
            _ip("link", "add", self._bridge, "type", "bridge")
            _ip("address", "add", f"{self._subnet}.1/24", "dev", self._bridge)
            _ip("link", "set", self._bridge, "up")
        try:
            self.repair()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def environment(self) -> dict[str, str]:
        """The environment variables with which a driver joins the cluster."""
        assert self._head is not None
        return self._token() | {
            "RAY_ADDRESS": self._head.address,
            # A dead gcs_server is noticed after a minute by default.
            "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
        }

    @property
    def processes(self) -> dict[int, str]:
        """The names of all processes of all nodes."""
        return {pid: name for node in self._alive() for pid, name in node.processes.items()}

    def repair(self) -> None:
        """Starts nodes until there are as many as at first, or all if the first is dead."""
        if self._head is None or not _is_whole(self._head):
            for node in self._alive():
                self._end(node)
            self._head, self._others = self._start(is_head=True), []
            _wait_for([self._head])
        for node in [node for node in self._others if node.process.poll() is not None]:
            self._end(node)
            self._others.remove(node)
        joining = [self._start(is_head=False) for _ in range(self._count - len(self._others))]
        self._others += joining
        _wait_for(joining)

    def replace_node(self, rng: random.Random) -> None:
        """Kills a node other than the driver's, and starts a new one."""
        node = rng.choice(self._others)
        self._others.remove(node)
        self._end(node)
        self.repair()

    def written(self) -> list[Path]:
        """Returns the files that nodes, living or dead, have written outside Ray's folder."""
        return sorted(
            {
                path
                for node in (*self._alive(), *self._ended)
                for path in node.folder.rglob("*")
                if path.is_file()
                and not path.is_relative_to(node.ray_folder)
                and path != node.folder / "log"
            }
        )

    def close(self) -> None:
        """Ends all nodes."""
        for node in self._alive():
            self._end(node)
        self._head, self._others = None, []
        if self._isolated:
            with suppress(RunFailed):
                _ip("link", "delete", self._bridge)

    def _alive(self) -> list[Node]:
        return [*([self._head] if self._head is not None else []), *self._others]

    def _end(self, node: Node) -> None:
        node.end()
        self._ended.append(node)

    def _token(self) -> dict[str, str]:
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self._secret}

    def _start(self, *, is_head: bool) -> Node:
        """Starts the next node; the first one of a cluster is the driver's."""
        number = self._started = self._started + 1
        folder = self._folder / str(number)
        for name in ("home/cache", "work", "r"):
            (folder / name).mkdir(parents=True)
        address = f"{self._subnet}.{1 if is_head else 1 + number}" if self._isolated else ""
        command = self._command(folder / "r", address, is_head=is_head)
        if not self._isolated:
            with (folder / "log").open("wb") as log:
                process = subprocess.Popen(
                    command,
                    cwd=folder / "work",
                    env=self._node_environment(folder / "home"),
                    stdout=log,
                    stderr=log,
                )
            return Node(folder, process)
        namespaces = ["--mount", *([] if is_head else ["--net"])]
        values = ["" if is_head else address, *self._hidden, "--", *command]
        process = subprocess.Popen(
            ["unshare", *namespaces, "sh", "-c", _ISOLATED, "sh", *values],
            cwd=folder,
            env=self._node_environment(folder / "home"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        with process.stdin, process.stdout:
            # A line says that its namespaces are there.
            process.stdout.readline()
            if not is_head:
                self._connect(process.pid, f"{self._bridge}n{number}")
            process.stdin.write(b"\n")
        return Node(folder, process)

    def _node_environment(self, home: Path) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name not in _DRIVERS_OWN}
        own = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
        return inherited | self._settings | self._token() | own

    def _connect(self, pid: int, card: str) -> None:
        """Connects a process's network namespace to the bridge."""
        _ip("link", "add", card, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        _ip("link", "set", card, "master", self._bridge, "up")

    def _command(self, folder: Path, address: str, *, is_head: bool) -> list[str]:
        common = [
            *([f"--node-ip-address={address}"] if address else []),
            f"--num-cpus={0 if is_head else 1}",
            "--num-gpus=0",
            f"--object-store-memory={_STORE_BYTES}",
            f"--temp-dir={folder}",
            # Else all nodes of one address would give their workers the same ports.
            "--min-worker-port=0",
            "--max-worker-port=0",
            "--disable-usage-stats",
            "--block",
        ]
        python = [sys.executable, "-m", "ray.scripts.scripts", "start"]
        if is_head:
            return [*python, "--head", "--port=0", "--include-dashboard=false", *common]
        assert self._head is not None
        listening = "--dashboard-agent-listen-port=0"
        return [*python, f"--address={self._head.address}", listening, *common]


def _is_whole(head: Node) -> bool:
    """Returns whether the first node is alive, with its raylet and the cluster's gcs_server."""
    if head.process.poll() is not None:
        return False
    names = {Path(name).name for name in head.processes.values()}
    return {"raylet", "gcs_server"} <= names


def _wait_for(nodes: Sequence[Node]) -> None:
    """Waits until nodes have joined; raises RunFailed with the end of the log of one that fails."""
    until = time.monotonic() + _START_SECONDS
    for node in nodes:
        while not node.address:
            if node.process.poll() is not None or time.monotonic() > until:
                log = node.folder / "log"
                said = log.read_text(errors="replace").split() if log.exists() else []
                raise RunFailed(f"a raylet did not start: {' '.join(said[-60:])}")
            time.sleep(0.1)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunFailed(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
