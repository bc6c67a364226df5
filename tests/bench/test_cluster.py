"""Which Ray a command uses, and the line for each reason why it cannot be joined."""

import re
import shlex
import subprocess
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import torch
import yaml

from bench.cli import parse
from bench.commands.run import refuse_empty
from bench.common.errors import ActorUnusable, RunFailed, UserError
from bench.common.processes import arguments
from bench.datasets.base import Item
from bench.execution import actors, cluster, nearby
from bench.execution.cluster import (
    describe_placement,
    find_cluster,
    names_of,
    refuse_submitted,
    sum_resources,
)
from bench.execution.nearby import CURRENT, Raylet
from bench.execution.pipeline import Pipeline
from bench.execution.session import mig_slices
from bench.store.rows import SpeechRow
from bench.systems.base import ABSENT, Variant
from bench.systems.pixvoxgenerator import enough_memory
from bench.systems.python import PythonSystem

OURS = {"ray": version("ray"), "python": python_version()}
JOINABLE = OURS | {"address": "10.0.0.1:6379"}
WITHOUT_TOKEN = {"fault": "token", "said": ""}


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ADDRESS", "AUTH_MODE", "AUTH_TOKEN", "AUTH_TOKEN_PATH"):
        monkeypatch.delenv(f"RAY_{name}", raising=False)


def _answering(monkeypatch: pytest.MonkeyPatch, **answers: dict[str, Any]) -> list[str]:
    """Has clusters answer, by the mode of Ray's authentication ("none" without); whom was asked."""
    asked = []

    def answer(address: str, mode: str | None) -> dict[str, Any]:
        asked.append(f"{address} {mode}")
        return answers[mode or "none"]

    monkeypatch.setattr(cluster, "_check_port", lambda address: None)
    monkeypatch.setattr(cluster, "_answer", answer)
    monkeypatch.setattr(cluster, "_send_token", lambda: asked.append("sent"))
    return asked


def test_a_given_address_replaces_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _answering(monkeypatch, none=JOINABLE)
    assert find_cluster(None) is None
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere:1")
    assert find_cluster("local") is None
    assert asked == []
    assert find_cluster("here:1") == find_cluster(None) == "10.0.0.1:6379"
    assert asked == ["here:1 None", "elsewhere:1 None"]
    for line in (["run", "j.yaml"], ["train", "j.yaml"], ["narrate", "j.yaml"]):
        assert parse([*line, "--address", "here:1"]).address == "here:1"


def test_a_token_is_sent_to_a_cluster_that_requires_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = _answering(monkeypatch, none=WITHOUT_TOKEN, token=JOINABLE)
    with pytest.raises(UserError, match=r"a:1: requires a token, and there is none here; set RAY_"):
        find_cluster("a:1")
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("secret")
    assert find_cluster("a:1") == "10.0.0.1:6379"
    assert asked[1:] == ["a:1 None", "a:1 token", "sent"]
    _answering(monkeypatch, none=WITHOUT_TOKEN, token=WITHOUT_TOKEN)
    with pytest.raises(UserError, match=r"a:1: refuses the token of .*auth_token; put") as refused:
        find_cluster("a:1")
    assert "secret" not in str(refused.value)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "gone")
    with pytest.raises(UserError, match=r"^RAY_AUTH_TOKEN_PATH: gone: no token there; correct"):
        find_cluster("a:1")


def test_a_user_without_a_home_has_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    assert cluster.token_source() == ""


@pytest.mark.parametrize(
    ("address", "answer", "kind", "message"),
    [
        ("ray://a:1", {}, UserError, "Ray Client is not supported; run the driver on a node"),
        ("http://a:8265", {}, UserError, "http://a:8265: is for ray job submit, not the cluster"),
        ("a", {}, UserError, "a: not an address; write HOST:PORT, auto or local"),
        ("127.0.0.1:1", {}, RunFailed, r"no Ray cluster at 127.0.0.1:1 \(.*refused\); start it"),
        ("a:1", {"fault": "other"}, RunFailed, "does not answer as a Ray cluster; give the addr"),
        ("a:1", OURS | {"fault": "outside"}, UserError, "this machine is no node of that cluster"),
        ("a:1", JOINABLE | {"ray": "2.9.1"}, UserError, "a:1: runs Ray 2.9.1 on Python 3.* same"),
    ],
)  # fmt: skip
def test_a_cluster_that_cannot_be_joined_gives_one_line(
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    answer: dict[str, Any],
    kind: type[Exception],
    message: str,
) -> None:
    if answer:
        _answering(monkeypatch, none=answer)
    with pytest.raises(kind, match=message):
        find_cluster(address)


def test_auto_finds_the_cluster_of_ray_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not that of another command, nor what RAY_ADDRESS names, nor a driver's own."""
    nodes: list[Raylet] = []
    monkeypatch.setattr(nearby, "_raylets", lambda: iter(nodes))
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere:1")
    asked = _answering(monkeypatch, none=JOINABLE)

    def started(name: str, address: str, *, by_ray_start: bool) -> None:
        (tmp_path / name).mkdir()
        if by_ray_start:
            (tmp_path / name / CURRENT).write_text(address)
        nodes.append(Raylet(address, tmp_path / name))

    started("pixvox-1", "own:1", by_ray_start=False)
    with pytest.raises(RunFailed, match="no Ray cluster runs on this machine; start it, or corr"):
        find_cluster("auto")
    started("notebook", "driver:1", by_ray_start=False)
    find_cluster("auto")
    started("ray", "here:1", by_ray_start=True)
    find_cluster("auto")
    assert asked == ["driver:1 None", "here:1 None"]
    started("second", "here:2", by_ray_start=True)
    with pytest.raises(UserError, match=r"^auto: this machine .* 2 Rays \(here:1, here:2\); write"):
        find_cluster("auto")


def test_nodes_are_recognised_by_their_command_lines(tmp_path: Path) -> None:
    values = ["--gcs-address=10.9.8.7:1", f"--temp_dir={tmp_path}"]
    command = [str(tmp_path / "raylet"), "-c", "read _", "sh", *values]
    # The shell is called as Ray's raylet is.
    with subprocess.Popen(command, executable="/bin/sh", stdin=subprocess.PIPE) as process:
        while not arguments(process.pid)[1:]:
            assert process.poll() is None
        assert Raylet("10.9.8.7:1", tmp_path) in list(nearby._raylets())
        process.communicate(b"\n")
    assert arguments(process.pid) == []


def test_an_aborted_probe_gives_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asking = tmp_path / "python"
    monkeypatch.setattr(cluster.sys, "executable", str(asking))
    asking.write_text("#!/bin/sh\necho noise >&2\nkill -ABRT $$\n")
    asking.chmod(0o755)
    assert cluster._answer("a:1", None) == {"fault": "other", "said": ""}
    asking.write_text('#!/bin/sh\necho "{\\"said\\": \\"$* $RAY_AUTH_MODE\\"}"\n')
    said = {"said": "-m bench.execution.probe a:1 token"}
    assert cluster._answer("a:1", "token") == said


def test_results_in_a_submission_s_folder_are_refused(tmp_path: Path) -> None:
    unpacked = tmp_path / "session_1/runtime_resources/working_dir_files/_ray_pkg_1"
    with pytest.raises(UserError, match="give an absolute path with --runs on a permanent disk"):
        refuse_submitted(unpacked / "results/runs", "--runs")
    refuse_submitted(tmp_path / "results", "--runs")


def test_files_for_clusters_call_existing_commands() -> None:
    folder = Path(__file__).parents[2] / "jobs" / "cluster"
    spec = yaml.safe_load((folder / "rayjob.yml").read_text())["spec"]
    calls = [spec["entrypoint"], "pixvox run job.yaml --address auto --limit 2"]
    for name in ("slurm.sbatch", "submit.sh"):
        [call] = re.findall(r"-- (pixvox run .*)", (folder / name).read_text())
        calls.append(call.replace('"$@"', "--limit 2"))
    for call in calls:
        assert parse(shlex.split(call)[1:]).command == "run"
    pods = [spec["rayClusterSpec"][key] for key in ("headGroupSpec",)]
    pods += spec["rayClusterSpec"]["workerGroupSpecs"]
    mounted = ["volumes" in pod["template"]["spec"] for pod in pods]
    # Data and results are the driver's alone.
    assert mounted == [True, False]


def test_the_lines_about_a_cluster_and_its_actors() -> None:
    def node(letter: str, address: str, **resources: float) -> dict[str, Any]:
        known = {"NodeID": 8 * letter, "NodeManagerAddress": address, "Alive": True}
        return known | {"Resources": resources}

    nodes = [
        node("a", "10.0.0.1", CPU=8.0, GPU=4.0, **{"accelerator_type:A100": 1.0}),
        node("b", "10.0.0.2", CPU=8.0, GPU=4.0, **{"accelerator_type:T4": 1.0}),
        node("c", "10.0.0.2", CPU=4.0),
    ]
    assert sum_resources(nodes).described == "3 nodes, 20 cores, 8 GPUs (4 A100, 4 T4)"
    assert sum_resources(nodes[2:]).described == "1 node, 4 cores, no GPU"
    kinds = {"generator": ["a" * 8], "transcriber": ["a" * 8] + ["b" * 8, "c" * 8] * 4}
    assert describe_placement(kinds, names_of(nodes)) == (
        "1 generator, 1 transcriber on 10.0.0.1; "
        "4 transcribers on each of 10.0.0.2 (bbbbbb), 10.0.0.2 (cccccc)"
    )
    assert describe_placement({"transcriber": ["a", "a"]}, {}) == "2 transcribers on this machine"


def test_mig_slices_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1a, MIG-2b")
    assert mig_slices() == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert mig_slices() is None


def test_an_assigned_gpu_that_cannot_be_used_is_not_replaced_by_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(actors, "_assigned_gpus", lambda: ["0"])
    with pytest.raises(
        ActorUnusable, match=r"^node [\d.]+: PyTorch .* cannot use GPU 0, which Ray assigned: .*; "
    ):
        actors.device()
    monkeypatch.setattr(actors, "_assigned_gpus", list)
    assert actors.device() == "cpu"


def test_too_many_slots_give_one_line_with_bytes() -> None:
    with (
        pytest.raises(ActorUnusable, match=r"^decoding.slots 512: .*\d{15} bytes.*; lower"),
        enough_memory(512),
    ):
        torch.empty(10**15, dtype=torch.uint8)


def test_a_file_that_only_the_driver_has_is_a_machine_s_failure(tmp_path: Path) -> None:
    item = Item("a", tmp_path / "1.png", ())
    system = PythonSystem(kind="python", label="mine", entry="theirs:Mine")
    failed = SpeechRow(item="a", status="failed", reason="1.png: no such image")
    actor = actors.GeneratorActor.__new__(actors.GeneratorActor)
    actor.device, actor.generator = "cpu", SimpleNamespace(generate=lambda asked: [("k", failed)])
    [(_, row)] = actor.work([(item, (Variant("k", 0.0, system),))])
    assert row.cause == ABSENT
    pipeline: Any = Pipeline.__new__(Pipeline)
    pipeline.state = SimpleNamespace(item=lambda name, system: item)
    cell = SimpleNamespace(system=system, caption="rotating")
    assert pipeline._settled(row, cell) == replace(failed, device="cpu")
    item.image.touch()
    settled = pipeline._settled(row, cell)
    assert settled.cause == "machine"
    assert settled.reason == f"{failed.reason} on its actor's node, although the driver has it"
    # A picture that both have, and that is none, is the item's failure.
    [(_, row)] = actor.work([(item, (Variant("k", 0.0, system),))])
    assert row.cause == ""


def test_a_system_without_a_good_row_gives_one_line() -> None:
    def rows(label: str, *reasons: str) -> tuple[Any, pl.DataFrame]:
        status = ["failed" if reason else "ok" for reason in reasons]
        table = pl.DataFrame({"status": status, "reason": reasons, "cause": [""] * len(status)})
        return SimpleNamespace(label=label, source=None), table

    refuse_empty("job", [rows("a", "", "torn"), rows("b", "")])
    lost = [rows("a", ""), rows("b", "torn", "gone", "gone"), rows("c", "torn"), rows("c", "torn")]
    with pytest.raises(RunFailed, match=r"^job: b has no good row, nor has 1 other: gone$"):
        refuse_empty("job", lost)
