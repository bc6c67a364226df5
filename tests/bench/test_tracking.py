"""Measured rows are logged once, by a tracker's own library, and change nothing of the results.

TensorBoard's event files are written by the real library. MLflow and W&B are stand-ins of the few
calls that are used, for the real packages are large.
"""

import json
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from bench.cli import main
from bench.common.errors import UserError
from bench.common.yamlfile import Strict, validate
from bench.tracking.base import Evaluation, TrackedRow
from bench.tracking.shipped import Tracking, tracker_of

pytestmark = pytest.mark.slow

MLFLOW = """
import itertools, json, os, pathlib, types
from mlflow.exceptions import MlflowException
CALLS, NUMBERS = [], itertools.count()
class MlflowClient:
    runs = {}
    def __init__(self, tracking_uri):
        assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
        CALLS.append(("store", tracking_uri))
    def get_experiment_by_name(self, name):
        return None
    def create_experiment(self, name, artifact_location):
        CALLS.append(("experiment", name, artifact_location))
        return "1"
    def create_run(self, experiment, run_name, tags):
        info = types.SimpleNamespace(run_id=f"id{next(NUMBERS)}", lifecycle_stage="active")
        run = types.SimpleNamespace(info=info, name=run_name, tags=tags, logged={})
        self.runs[info.run_id] = run
        return run
    def get_run(self, identity):
        if identity not in self.runs:
            raise MlflowException("RESOURCE_DOES_NOT_EXIST")
        return self.runs[identity]
    def log_batch(self, identity, metrics, params):
        if any(param.key == "broken" for param in params):
            raise MlflowException("INTERNAL_ERROR")
        self.runs[identity].logged |= {m.key: m.value for m in metrics}
        self.runs[identity].logged |= {p.key: p.value for p in params}
    def log_artifact(self, identity, path, place):
        self.runs[identity].logged[f"{place}/{pathlib.Path(path).name}"] = "artifact"
    def set_terminated(self, identity):
        pass
    def delete_run(self, identity):
        self.runs[identity].info.lifecycle_stage = "deleted"
"""
ENTITIES = """
from collections import namedtuple
Metric = namedtuple("Metric", "key value timestamp step")
Param = namedtuple("Param", "key value")
"""
EXCEPTIONS = """
class MlflowException(Exception):
    def __init__(self, code):
        super().__init__(code)
        self.error_code = code
"""
WANDB = """
RUNS = []
def login(verify, prompt):
    return False
def Settings(**settings):
    return settings
class Artifact:
    def __init__(self, name, type):
        self.files = []
    def add_file(self, path, name):
        self.files.append(name)
class Run:
    def __init__(self, **options):
        self.options, self.summary, self.artifacts = options, {}, []
        RUNS.append(self)
    def __enter__(self):
        return self
    def __exit__(self, *error):
        return None
    def log_artifact(self, artifact):
        self.artifacts += artifact.files
def init(**options):
    return Run(**options)
"""


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`mlflow`, `wandb` and what they need, as modules of a few lines."""
    folder = tmp_path / "modules"
    files = {
        "mlflow/__init__.py": MLFLOW,
        "mlflow/entities.py": ENTITIES,
        "mlflow/exceptions.py": EXCEPTIONS,
        "wandb.py": WANDB,
        "sqlalchemy.py": "",
        "alembic.py": "",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(folder)
    names = ("mlflow", "wandb", "sqlalchemy", "alembic")

    def forget() -> None:
        for name in [name for name in sys.modules if name.split(".")[0] in names]:
            del sys.modules[name]

    forget()
    yield
    forget()


def _row(key: str, score: float, **parameters: str) -> TrackedRow:
    metrics = {"score/BLEU-4": score, "low/BLEU-4": score - 1, "high/BLEU-4": score + 1}
    return TrackedRow(
        key=key, name=f"row {key}", metrics=metrics, parameters={"dataset": "scenes"} | parameters
    )


def _evaluation(folder: Path, *rows: TrackedRow) -> Evaluation:
    table = folder / "table1.md"
    folder.mkdir(exist_ok=True)
    table.write_text("| a |")
    return Evaluation(run="demo", rows=rows, tables=(table,))


class _Keys(Strict):
    tracking: Tracking


def _tracker(given: Any) -> Any:
    return tracker_of(validate({"tracking": given}, _Keys, "job.yaml").tracking)


def _events(folder: Path) -> dict[str, Any]:
    """The values of one event file by their tags, and hyperparameters by their names."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    (path,) = folder.iterdir()
    data, values = path.read_bytes(), {}
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        for value in Event.FromString(data[12 : 12 + length]).summary.value:
            if value.HasField("simple_value"):
                values[value.tag] = value.simple_value
            elif value.metadata.plugin_data.plugin_name == "hparams":
                content = HParamsPluginData.FromString(value.metadata.plugin_data.content)
                given = content.session_start_info.hparams
                values |= {name: entry.string_value for name, entry in given.items()}
            else:
                values[value.tag] = value.tensor.string_val[0].decode()
        data = data[16 + length :]
    return values


def test_a_run_s_rows_are_in_tensorboard_and_its_results_stay(
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(runs / "one", tmp_path / "one")
    both = "scoring={replicates: 100, references: [others, all]}"
    rescore = ["rescore", str(runs / "one.yaml"), "--runs", str(tmp_path), "--set", both]
    assert main(rescore) == 0
    files = [*(tmp_path / "one" / "tables").glob("*.parquet"), tmp_path / "one" / "scores.parquet"]
    before = {path: path.read_bytes() for path in files}
    cells = json.loads((tmp_path / "one" / "run.json").read_text())["cells"]
    # Logged twice: the second time replaces the first.
    for _ in range(2):
        assert main([*rescore, "--set", "tracking=tensorboard"]) == 0
    assert {path: path.read_bytes() for path in files} == before
    assert json.loads((tmp_path / "one" / "run.json").read_text())["cells"] == cells

    logged = {
        path.name: _events(path) for path in (tmp_path / "one/tracking/tensorboard").iterdir()
    }
    assert "delay" in logged.pop("tables")["table1/text_summary"]
    measured = {
        (row["system"], row["prompt"], reading)
        for table in ("table1", "table2")
        for reading, ending in (("others", ""), ("all", "-all"))
        for row in pl.read_parquet(tmp_path / f"one/tables/{table}{ending}.parquet").to_dicts()
        if row["block"] == "measured"
    }
    assert len(logged) == len(measured)
    summary = json.loads((tmp_path / "one" / "summary.json").read_text())
    row = next(row for row in summary["rows"] if row["system"] == "delay" and row["prompt"] == 0.5)
    values = next(
        values
        for values in logged.values()
        if (values["system"], values["prompt"]) == ("delay", "0.5")
        and values["signature.references"] == "others"
    )
    for end in ("score", "low", "high"):
        assert values[f"{end}/CIDEr"] == pytest.approx(row["scores"]["CIDEr"][end], rel=1e-6)
    assert values["tables"] == "table2"
    assert values["dataset_digest"] == summary["protocol"]["dataset_digest"]
    assert values["signature.n"] == str(row["signature"]["n"])

    # What the tracker cannot write is a line, and the results are there.
    shutil.rmtree(tmp_path / "one" / "tracking")
    (tmp_path / "one" / "tracking").write_text("a file where the folder should be")
    capsys.readouterr()
    assert main([*rescore, "--set", "tracking=tensorboard"]) == 0
    error = capsys.readouterr().err
    assert "one: not logged to TensorBoard (" in error
    assert "the results are complete" in error
    assert {path: path.read_bytes() for path in files} == before

    # A missing library is found before anything is run.
    monkeypatch.setitem(sys.modules, "mlflow", None)
    new = ["run", str(runs / "one.yaml"), "--runs", str(tmp_path / "new")]
    assert main([*new, "--set", "tracking=mlflow"]) == 2
    assert "needs mlflow" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("module", ["mlflow", "alembic", "wandb", "tensorboardX"])
def test_a_missing_library_gives_one_line_with_the_install_command(
    module: str, stand_ins: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    name = {"tensorboardX": "tensorboard", "alembic": "mlflow"}.get(module, module)
    with pytest.raises(UserError, match=f"needs {module}, which .* 'pixvox-bench.tracking.'"):
        _tracker(name).check()
    # A server keeps the store, so SQLite's two are not needed.
    if module == "alembic":
        _tracker({"kind": "mlflow", "uri": "http://host:5000"}).check()


def test_mlflow_has_a_run_for_each_row_and_replaces_only_its_own(
    stand_ins: None, tmp_path: Path
) -> None:
    tracker = _tracker("mlflow")
    tracker.check()
    evaluation = _evaluation(tmp_path / "t", _row("a", 20.0), _row("b", 30.0))
    tracker.log(evaluation, tmp_path / "tracking")
    import mlflow

    store, experiment = mlflow.CALLS
    assert store == ("store", f"sqlite:///{tmp_path}/tracking/mlflow.db")
    artifacts = (tmp_path / "tracking" / "mlflow-artifacts").as_uri()
    assert experiment == ("experiment", "pixvox", artifacts)
    stored = mlflow.MlflowClient.runs
    assert [run.name for run in stored.values()] == ["demo", "row a", "row b"]
    assert stored["id0"].logged == {"tables/table1.md": "artifact"}
    assert stored["id2"].tags["mlflow.parentRunId"] == "id0"
    expected = {"score/BLEU-4": 30.0, "low/BLEU-4": 29.0, "high/BLEU-4": 31.0}
    assert stored["id2"].logged == expected | {"dataset": "scenes"}

    # One that failed in part, and one that was deleted by hand, are replaced with the others.
    with pytest.raises(Exception, match="INTERNAL_ERROR"):
        tracker.log(_evaluation(tmp_path / "t", _row("a", 1, broken="yes")), tmp_path / "tracking")
    del stored["id1"]
    info = SimpleNamespace(run_id="other", lifecycle_stage="active")
    stored["other"] = SimpleNamespace(info=info, name="demo of another user")
    tracker.log(evaluation, tmp_path / "tracking")
    active = [run.name for run in stored.values() if run.info.lifecycle_stage == "active"]
    assert sorted(active) == ["demo", "demo of another user", "row a", "row b"]


def test_wandb_is_offline_and_makes_no_links(stand_ins: None, tmp_path: Path) -> None:
    tracker = _tracker({"kind": "wandb", "project": "speech"})
    tracker.check()
    tracker.log(_evaluation(tmp_path / "t", _row("a", 20.0)), tmp_path / "tracking")
    import wandb

    row, tables = wandb.RUNS
    assert row.options["mode"] == "offline"
    assert row.options["dir"] == str(tmp_path / "tracking")
    assert not row.options["settings"]["symlink"]
    assert (row.options["id"], row.options["name"]) == ("demo-a", "row a")
    assert row.summary == {"score/BLEU-4": 20.0, "low/BLEU-4": 19.0, "high/BLEU-4": 21.0}
    assert row.options["config"] == {"dataset": "scenes"}
    assert tables.artifacts == ["table1.md"]
    with pytest.raises(UserError, match="W&B has no key; log in"):
        _tracker({"kind": "wandb", "mode": "online"}).check()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("tensorbord", "tensorboard"),
        ({"kind": "mlflow", "url": "http://x"}, "url"),
        ({"kind": "mlflow", "uri": "https://me:secret@host"}, "MLFLOW_TRACKING_PASSWORD"),
        ({"kind": "wandb", "mode": "onlin"}, "online"),
    ],
)
def test_invalid_settings_give_one_line(given: Any, why: str) -> None:
    with pytest.raises(UserError, match=why) as error:
        _tracker(given)
    assert "secret" not in str(error.value)
