"""The output of a run does not depend on folder, user, time or caches."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bench.execution.stages import PACE
from bench.report.speed import SPEED_TABLE
from bench.store.costs import SPEED

pytestmark = [pytest.mark.slow, pytest.mark.evidence]

ROOT = Path(__file__).parents[2]
JOB = {
    "name": "travel",
    "dataset": {"name": "scenes"},
    "limit": 2,
    "systems": [
        {"kind": "recorded"},
        {
            "kind": "pixvox",
            "label": "delay",
            "weights": "zoo:pixvox-tiny-delay",
            "prompts": [0, 0.5],
            "decoding": {"temperature": 0.5, "max_seconds": 3},
        },
    ],
    "grid": {"seed": [1]},
    "asr": {"batch": 2},
    "cluster": {"transcribers": 1},
    "scoring": {"replicates": 100},
}


def _run(folder: Path, **environment: str) -> dict[str, bytes]:
    """Every file that the job leaves below a new folder, but the lock and how long it took."""
    folder.mkdir()
    (folder / "job.yaml").write_text(yaml.safe_dump(JOB))
    changed = {
        "HOME": str(folder / "home"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-m", "bench.cli", "run", "job.yaml"],
        cwd=folder,
        env=os.environ | changed | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = folder / "results" / "runs" / "travel"
    files = {str(p.relative_to(run)): p for p in run.rglob("*") if p.is_file()}
    of_machine = ("ledger/lock", PACE, SPEED, SPEED_TABLE)
    return {name: p.read_bytes() for name, p in files.items() if name not in of_machine}


def test_two_homes_two_folders_cold_and_warm_give_the_same_bytes(tmp_path: Path) -> None:
    numba = str(tmp_path / "numba")
    first = _run(tmp_path / "one", NUMBA_CACHE_DIR=numba, TZ="UTC", PYTHONHASHSEED="1")
    second = _run(
        tmp_path / "another place",
        NUMBA_CACHE_DIR=numba,
        TZ="Asia/Tokyo",
        PYTHONHASHSEED="2",
        LC_ALL="C.UTF-8",
        USER="somebody",
    )
    assert {"rows.parquet", "run.json", "summary.json", "tables/table1.md"} <= first.keys()
    assert sum(name.startswith("ledger/generated/") for name in first) >= 3
    # Parts are named by their keys and digests, so equal names are equal keys.
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
