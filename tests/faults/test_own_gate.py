"""The project's own gate fails on a copy of the code with one broken line."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bench.gate.golden import Golden, read_golden, write_golden

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
REVERT = "        step = self._plan_of(frames).step_of[:, :frames]\n"
UNSHIFTED = "        step = torch.arange(frames).expand(self.codebooks, -1)\n"
ITEMS = 12


def _copy(folder: Path) -> Path:
    """The packages, and their gate with one cell of each pattern, so that it takes no minutes."""
    # With what is compiled already: nothing of it is what is broken here.
    for name in ("bench", "pixvox", "results/baselines"):
        shutil.copytree(ROOT / name, folder / name)
    job = yaml.safe_load((ROOT / "jobs" / "demo.yaml").read_text())
    models = [dict(system, prompts=[0]) for system in job["systems"] if system["kind"] == "pixvox"]
    path = folder / "demo.yaml"
    path.write_text(yaml.safe_dump(job | {"systems": models}))
    (committed,) = (ROOT / "results" / "golden").glob("demo-*.parquet")
    golden = read_golden(committed)
    signatures = {n: s for n, s in golden.signatures.items() if "PixVoxLM" in n and " 0%" in n}
    rows = golden.rows.filter(golden.rows["cell"].is_in(list(signatures)))
    items = rows["item"].unique(maintain_order=True).head(ITEMS)
    small: Golden = replace(
        golden, signatures=signatures, rows=rows.filter(rows["item"].is_in(items.implode()))
    )
    write_golden(small, folder / "results" / "golden")
    return path


def test_a_broken_revert_of_the_delay_pattern_fails_the_gate(tmp_path: Path) -> None:
    job = _copy(tmp_path)
    decoding = tmp_path / "pixvox" / "decoding" / "engine.py"
    source = decoding.read_text()
    assert source.count(REVERT) == 1
    decoding.write_text(source.replace(REVERT, UNSHIFTED))
    command = [sys.executable, "-m", "bench.cli", "gate", job.name, "--any-machine", "--out", "out"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    comment = (tmp_path / "out" / "comment.md").read_text()
    regressed = [line for line in comment.splitlines() if line.startswith("| REGRESSED")]
    # What is not shifted back begins with "no unit" in all codebooks but the first.
    assert any("| failed |" in line for line in regressed)
    # The parallel pattern is its own inverse: nothing about it changed.
    assert all("Delay" in line for line in regressed)
    assert (tmp_path / "out" / "audio" / "1-before.wav").stat().st_size > 10_000
