"""A package that adds a kind of each by entry points: the example of docs/plugin, installed."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from bench.common.errors import UserError
from bench.common.plugins import with_plugins
from bench.systems.base import System
from bench.systems.shipped import SHIPPED
from pixvox.plugins import SYSTEMS, Plugin, PluginError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ADDED = {
    "system": "beeps", "dataset": "tabbed", "ASR": "loudness", "metric": "letters",
    "table": "bounds", "image encoder": "gray_cells",
}  # fmt: skip
JOB = """
name: example
dataset: {name: tabbed, file: split.txt}
systems:
  - {kind: beeps, label: beeps, hertz: 300}
  - {kind: silence}
asr: {backend: loudness}
scoring: {metrics: [letters], replicates: 100}
tables: [table1, bounds]
"""
ENCODER = """
import sys
import torch, pixvox
from bench.datasets.scenes.load import load_scenes
from bench.systems.base import Lookup
from bench.systems.pixvox import PixVoxSystem
from bench.systems.retrieval import RetrievalSystem
config = pixvox.PixVoxConfig.tiny(vision_config={"model_type": "gray_cells", "image_size": 64})
pixvox.PixVoxLM(config).save_pretrained("gray")
model = pixvox.PixVoxLM.from_pretrained("gray")
assert type(model.vision).__name__ == "GrayCells", type(model.vision)
content = PixVoxSystem(kind="pixvox", label="gray", weights="gray").identified(Lookup(None))
assert content.depends["plugins"] == content.plugins
# Of that model's image encoder, and of one that stands alone.
model.vision.save_pretrained("cells")
for vision in ("gray", "cells"):
    data = {"name": "folder", "manifest": "data.jsonl"}
    system = RetrievalSystem(kind="retrieval", label="r", data=data, vision=vision)
    lookup = Lookup(None, {("vision", vision): "v", ("training", system.data, None): ()})
    lookup.known["training digest", system.data, None, False] = "t"
    retrieved = system.identified(lookup)
    assert retrieved.depends["plugins"] == retrieved.plugins == content.plugins
print(content.plugins)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the example is installed, without a network."""
    folder = tmp_path_factory.mktemp("installed")
    source = shutil.copytree(ROOT / "docs" / "plugin", folder / "source")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder / "site")]
    subprocess.run([*command, str(source)], check=True, capture_output=True)
    return folder / "site"


def _run(
    installed: Path, folder: Path, *command: str, **changes: str
) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join([str(ROOT), str(installed)])
    environment: Mapping[str, str] = os.environ | {"PYTHONPATH": path} | changes
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_package_adds_a_kind_of_each(installed: Path, tmp_path: Path) -> None:
    for name, color in (("bee", "red"), ("wasp", "blue")):
        Image.new("RGB", (32, 32), color).save(tmp_path / f"{name}.png")
    (tmp_path / "split.txt").write_text("bee.png\tbeep beep\nbee.png\tbeep\nwasp.png\ta wasp\n" * 2)
    (tmp_path / "job.yaml").write_text(JOB)
    done = _run(installed, tmp_path, "-m", "bench.cli", "run", "job.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    run = tmp_path / "results" / "runs" / "example"
    rows = pl.read_parquet(run / "rows.parquet").filter(system="beeps").sort("item")
    assert rows["transcript"].to_list() == ["beep beep beep", "beep beep beep beep"]
    assert (rows["letter ratio"] > 0).all()
    scores = pl.read_parquet(run / "scores.parquet")
    [version] = {re.search(r"\|version:([^|]*)", text)[1] for text in scores["signature"]}  # type: ignore[index]
    assert re.fullmatch(r"[\d.]+\+pixvox_example-1\.0\.[0-9a-f]{8}", version.replace("-e", "_e"))
    bounds = pl.read_parquet(run / "tables" / "bounds.parquet")
    assert bounds.filter(block="measured")["system"].to_list() == ["silence"]


def test_it_is_listed_with_its_version_in_help_and_in_the_reference(
    installed: Path, tmp_path: Path
) -> None:
    listed = _run(installed, tmp_path, "-m", "bench.cli", "show", "plugins").stdout
    for kind, name in ADDED.items():
        assert re.search(
            rf"^{kind} +{name} +pixvox_example:\w+ +pixvox.example +1\.0", listed, re.M
        )
    said = " ".join(_run(installed, tmp_path, "-m", "bench.cli", "run", "--help").stdout.split())
    assert f"plug-ins: {', '.join(' '.join(pair) for pair in ADDED.items())}" in said
    reference = _run(installed, tmp_path, "-m", "bench.commands.reference").stdout
    assert "`kind: beeps`" in reference
    assert "| `hertz` | number | `440.0` | The frequency of the beeps in Hz. |" in reference
    assert "`name: tabbed`" in reference
    assert "`backend: loudness`" in reference


def test_an_image_encoder_of_a_package_makes_image_states(installed: Path, tmp_path: Path) -> None:
    done = _run(installed, tmp_path, "-c", ENCODER)
    assert done.returncode == 0, done.stderr
    assert re.match(r"\('pixvox.example-1\.0\.[0-9a-f]{8}',\)", done.stdout)
    # Without the package the checkpoint is refused in one line.
    why = _run(ROOT, tmp_path, "-m", "bench.cli", "show", "model", "gray")
    assert why.returncode == 2
    assert "'gray_cells' is no image encoder that PixVoxLM can use" in why.stderr


BAD = {
    "gone:Kind": "gone:Kind is not loaded .ModuleNotFoundError",
    "json:JSONDecoder": "json:JSONDecoder is not derived from bench.systems.base.System; derive it",
    "bench.systems.silence:SilenceSystem": "give bench.systems.silence:SilenceSystem the field",
}


@pytest.mark.parametrize("entry", BAD)
def test_a_plug_in_that_cannot_be_used_is_one_line(
    entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = Plugin(group=SYSTEMS, name="odd", entry=entry, package="theirs", version="2")
    monkeypatch.setattr("bench.common.plugins.plugins", lambda group: {"odd": plugin})
    with pytest.raises(UserError, match=BAD[entry]) as error:
        with_plugins(SHIPPED, SYSTEMS, key="kind", base=System)
    assert str(error.value).startswith("plug-in 'odd' (pixvox.systems) of theirs-2: ")


def test_a_plug_in_cannot_replace_a_kind_of_the_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = "bench.systems.silence:SilenceSystem"
    plugin = Plugin(group=SYSTEMS, name="silence", entry=entry, package="theirs", version="2")
    monkeypatch.setattr("bench.common.plugins.plugins", lambda group: {"silence": plugin})
    with pytest.raises(UserError, match="the suite has a system of this name; rename it"):
        with_plugins(SHIPPED, SYSTEMS, key="kind", base=System)
    with pytest.raises(PluginError):
        plugin.load(int)
