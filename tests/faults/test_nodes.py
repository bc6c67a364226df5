"""Rows have the same bytes whatever the numbers of nodes and actors."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from bench.cli import main
from bench.common.processes import below
from bench.datasets.base import Dataset
from bench.execution.division import GpuPlaces, divide
from bench.execution.runstate import RunState
from bench.execution.session import ray_session
from bench.jobs.spec import ClusterSpec
from pixvox.weights import zoo_folder
from tests.evidence.chaos.attempt import finish
from tests.evidence.stub import stub_dataset, stub_run

pytestmark = pytest.mark.slow

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
def test_the_number_of_actors_changes_no_row(
    tmp_path: Path, plain: bytes, generators: int, transcribers: int
) -> None:
    dataset = stub_dataset(ITEMS)
    assert _rows(tmp_path, dataset, generators=generators, transcribers=transcribers) == plain


def test_the_order_of_items_changes_only_the_order_of_rows(tmp_path: Path, plain: bytes) -> None:
    import io

    import polars as pl

    dataset = stub_dataset(ITEMS)
    backwards = Dataset("stub", "test", "none", dataset.items[::-1], digest="0")
    rows = pl.read_parquet(io.BytesIO(_rows(tmp_path, backwards, generators=2, transcribers=2)))
    whole = pl.read_parquet(io.BytesIO(plain))
    assert rows.sort("cell", "item").equals(whole.sort("cell", "item"))
    assert rows["item"].to_list() != whole["item"].to_list()


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield cluster
    cluster.shutdown()


OWN = """
import hashlib
import numpy as np
from pathlib import Path
class Mine:
    def __init__(self, device): pass
    def generate(self, image, item):
        level = hashlib.sha256(image.read_bytes()).digest()[0] / 256
        return np.full(16_000, level, np.float32), 16_000
class Levels:
    def __init__(self, device, threads): pass
    def transcribe(self, waves):
        return [f"level {abs(wave).mean():.4f} for {len(wave)}" for wave in waves]
"""
LOUD = """
import numpy as np
from bench.metrics.base import AudioMetric, Score
class Loud(AudioMetric):
    name, columns, scores = "loud", ("mean", "clips"), (Score("loud", "L"),)
    def measure(self, waves):
        return np.array([(abs(wave).mean(), 1) for wave in waves])
    def score(self, sums):
        return 100 * sums[..., :1] / np.maximum(sums[..., 1:], 1)
"""
JOB = """
name: nodes
dataset: {{name: folder, manifest: {data}/all.jsonl}}
systems:
  - {{kind: python, label: mine, entry: "own_nodes:Mine"}}
  - {{kind: recorded}}
  - {{kind: wavs, label: wavs, folder: {data}, file: "{{id}}.wav"}}
  - {{kind: resynthesis, codec: {data}/codec, bandwidth: 1.6}}
  - {{kind: cascade, label: read aloud, weights: {data}/captioner}}
  - kind: retrieval
    label: replayed
    vision: {data}/vision
    data: &training {{name: folder, manifest: {data}/all.jsonl, folder: {data}/work}}
  - kind: retrieval
    label: replayed by units
    vision: {data}/vision
    data: *training
    choose: consensus-units
    codec: {data}/codec
    bandwidth: 1.6
asr: {{backend: "own_nodes:Levels", batch: 2}}
scoring: {{replicates: 100, metrics: ["loud_nodes:Loud"]}}
cluster: {{generators: 1, transcribers: 2}}
"""
WEIGHTS = {
    "codec": "encodec-tiny",
    "captioner": "blip-captioner-tiny",
    "vision": "pixvox-tiny-delay",
}
NARRATION = """
dataset: {{name: folder, manifest: {data}/all.jsonl}}
codec: {data}/codec
bandwidth: 1.6
captions: 1
workers: 2
output: {output}
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pictures, speech, a codec and a class of one's own, in the current folder."""
    folder = tmp_path / "driver" / "data"
    folder.mkdir(parents=True)
    lines = []
    for number in range(6):
        name = f"i{number:02d}"
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{name}.png")
        wave = np.full(8_000, number / 100)
        soundfile.write(folder / f"{name}.wav", wave, 16_000)
        captions = [{"text": f"the {name}", "speech": f"{name}.wav"}, {"text": "a picture"}]
        lines.append(json.dumps({"image": f"{name}.png", "captions": captions}))
    (folder / "all.jsonl").write_text("\n".join(lines))
    for name, weights in WEIGHTS.items():
        shutil.copytree(zoo_folder() / weights, folder / name)
    (folder.parent / "own_nodes.py").write_text(OWN)
    (folder.parent / "loud_nodes.py").write_text(LOUD)
    monkeypatch.chdir(folder.parent)
    return folder


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_nodes_without_a_job_s_files_compute_its_rows(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_node: Any
) -> None:
    """Three raylets in folders and homes of their own; one is killed, and another added."""
    from ray.cluster_utils import Cluster

    jobs, narration = data.parent / "job.yaml", data.parent / "narration.yaml"
    jobs.write_text(JOB.format(data=data))
    assert main(["run", str(jobs), "--runs", "local"]) == 0
    narration.write_text(NARRATION.format(data=data, output="local-voice"))
    assert main(["narrate", str(narration)]) == 0

    with as_node("first"):
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        with as_node("second"):
            second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        moved: list[int] = []
        commit = RunState.commit_transcripts

        def move(state: RunState, cell: Any, rows: Any) -> None:
            commit(state, cell, rows)
            if not moved:
                moved.append(len(rows))
                cluster.remove_node(second, allow_graceful=False)
                with as_node("third"):
                    cluster.add_node(num_cpus=1)

        monkeypatch.setattr(RunState, "commit_transcripts", move)
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        # What this descriptor leads to is there for this process alone.
        descriptor = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
        jobs.write_text(JOB.format(data=f"/proc/self/fd/{descriptor}"))
        assert main(["run", str(jobs), "--runs", "cluster"]) == 0
        driver_s = f"/proc/self/fd/{descriptor}"
        narration.write_text(NARRATION.format(data=driver_s, output="cluster-voice"))
        assert main(["narrate", str(narration)]) == 0
        os.close(descriptor)
        nodes = cluster.list_all_nodes()
        sessions = [Path(node.get_session_dir_path()) for node in nodes]
    finally:
        cluster.shutdown()
    assert moved
    local, there = Path("local/nodes"), Path("cluster/nodes")
    assert (there / "rows.parquet").read_bytes() == (local / "rows.parquet").read_bytes()
    assert _files(there / "speech") == _files(local / "speech")
    assert _files(Path("cluster-voice")) == _files(Path("local-voice"))
    assert [_files(tmp_path / name) for name in ("first", "second", "third")] == [{}, {}, {}]
    # Of messages' files nothing is left; weights and compiled code are.
    assert not [p for session in sessions for p in session.glob("pixvox/actor-*")]


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
        counts = Counter(ray.get([actor.__ray_call__.remote(gpu) for actor in actors]))
    numbers = Counter((*parts.generator_gpus, *parts.transcriber_gpus))
    assert sorted(counts.values()) == sorted(numbers.values())


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
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                addresses.add(fields[1].rsplit(":", 1)[0])
    return addresses


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
