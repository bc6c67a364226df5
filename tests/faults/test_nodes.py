"""Nodes join and leave, actors are few or many: the rows are the same bytes."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.common.processes import below
from bench.datasets.base import Dataset
from bench.execution.division import GpuPlaces, divide
from bench.execution.session import ray_session
from bench.jobs.spec import ClusterSpec
from bench.selfcheck.chaos.attempt import finish
from bench.selfcheck.stub import PAUSE, stub_dataset, stub_run

ROOT = Path(__file__).parents[2]
ITEMS = 120


def _rows(folder: Path, dataset: Dataset, **cluster: object) -> bytes:
    finish(stub_run(folder, dataset, cluster=dict(cluster)), folder, score=False)
    return (folder / "rows.parquet").read_bytes()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("plain")
    return _rows(folder, stub_dataset(ITEMS), generators=1, transcribers=1)


@pytest.mark.parametrize(("generators", "transcribers"), [(2, 1), (4, 4)])
def test_how_many_actors_there_are_changes_no_row(
    tmp_path: Path, plain: bytes, generators: int, transcribers: int
) -> None:
    dataset = stub_dataset(ITEMS)
    assert _rows(tmp_path, dataset, generators=generators, transcribers=transcribers) == plain


def test_the_order_of_items_changes_only_the_order_of_rows(tmp_path: Path, plain: bytes) -> None:
    import io

    import polars as pl

    dataset = stub_dataset(ITEMS)
    backwards = Dataset("stub", "test", "none", dataset.items[::-1], "0")
    rows = pl.read_parquet(io.BytesIO(_rows(tmp_path, backwards, generators=2, transcribers=2)))
    whole = pl.read_parquet(io.BytesIO(plain))
    assert rows.sort("cell", "item").equals(whole.sort("cell", "item"))
    assert rows["item"].to_list() != whole["item"].to_list()


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield made
    made.shutdown()


@pytest.mark.chaos
def test_a_node_leaves_and_another_joins_in_the_middle(
    tmp_path: Path, plain: bytes, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PAUSE, "0.1")
    second = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    moved: list[int] = []

    def move(what: str, done: int, total: int) -> None:
        if not moved and what == "transcribing" and done > total / 4:
            moved.append(done)
            cluster.remove_node(second, allow_graceful=False)
            cluster.add_node(num_cpus=2)

    # Three transcribers of one core each: two of them are on the node that leaves.
    run = stub_run(
        tmp_path,
        stub_dataset(ITEMS),
        cluster={"address": cluster.address, "generators": 2, "transcribers": 3},
    )
    finish(run, tmp_path, score=False, report=move)
    assert moved
    assert moved[0] < 2 * ITEMS
    assert (tmp_path / "rows.parquet").read_bytes() == plain


@pytest.mark.parametrize("counts", [(1, 8), (4, 4)])
def test_actors_share_gpus_as_they_are_divided(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, counts: tuple[int, int]
) -> None:
    import ray

    # Ray pretends no GPU beside CUDA_VISIBLE_DEVICES.
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    cluster.add_node(num_cpus=1, num_gpus=3)
    cluster.wait_for_nodes()
    spec = ClusterSpec(generators=counts[0], transcribers=counts[1])
    parts = divide(spec, 3, 2, generates_on_gpu=True)

    class Idle:
        pass

    def gpu(actor: Idle) -> str:
        return str(ray.get_runtime_context().get_accelerator_ids()["GPU"])

    with ray_session(cluster.address):
        places = GpuPlaces(parts)
        idle = ray.remote(num_cpus=0)(Idle)
        # In whatever order they start.
        actors = [
            idle.options(**places.options(gpus, place)).remote()
            for gpus in (parts.transcriber_gpus, parts.generator_gpus)
            for place in range(len(gpus))
        ]
        found = Counter(ray.get([actor.__ray_call__.remote(gpu) for actor in actors]))
    numbers = Counter((*parts.generator_gpus, *parts.transcriber_gpus))
    assert sorted(found.values()) == sorted(numbers.values())


def _listening(pids: set[int]) -> set[str]:
    """Local addresses, in hexadecimal, of the transcribing TCP sockets that processes hold."""
    inodes = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                target = str(descriptor.readlink())
            except OSError:
                continue
            inodes.add(target.removeprefix("socket:[").removesuffix("]"))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                found.add(fields[1].rsplit(":", 1)[0])
    return found


SESSION = """
from bench.execution.session import ray_session
with ray_session():
    print("ready", flush=True)
    input()
"""


def test_a_local_ray_listens_on_loopback_only() -> None:
    # In a process of its own, below which nothing of the cluster of the other tests is.
    command = [sys.executable, "-c", SESSION]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while (line := process.stdout.readline()) != "ready\n":
            assert line, "the session did not start"
        addresses = _listening({*below(process.pid), process.pid})
        process.communicate("\n")
    # 127.0.0.1, as IPv4 and mapped into IPv6.
    assert addresses
    assert addresses <= {"0100007F", "0000000000000000FFFF00000100007F"}
