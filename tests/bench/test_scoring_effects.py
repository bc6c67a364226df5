"""Keys of a job's scoring change the tables that depend on them, and no others."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from key_effects import EFFECTS, PIXVOX
from pages import finished_run

from bench.cli import main

pytestmark = pytest.mark.slow

RUN: dict[str, Any] = {
    "systems": [
        {"kind": "recorded"},
        {"kind": "resynthesis", "codec": "zoo:encodec-tiny", "bandwidth": 1.6},
        {"kind": "pixvox", "label": "parallel", "weights": "zoo:pixvox-tiny-parallel"},
        PIXVOX,
    ],
    "limit": 8,
}
RESAMPLED = {
    "scores": {"low", "high"},
    "tests": {"low", "high", "p_bootstrap", "p_permutation", "p_adjusted", "detectable"},
    "audit-tests": {"p_adjusted", "other_p_adjusted"},
    "waterfall": {"low", "high"},
}
"""Table → the columns that are drawn."""


def _tables(run: Path) -> dict[str, pl.DataFrame]:
    """The frames that a run has written, by name."""
    paths = [run / "scores.parquet", *sorted((run / "tables").glob("*.parquet"))]
    return {path.stem: pl.read_parquet(path) for path in paths}


def _differing(before: Mapping[str, pl.DataFrame], after: Mapping[str, pl.DataFrame]) -> Any:
    """Table → the columns that differ; other tables, or other rows, are one word."""
    changed: dict[str, Any] = {}
    for name in before.keys() | after.keys():
        first, second = before.get(name), after.get(name)
        if first is None or second is None or first.height != second.height:
            changed[name] = {"rows"}
        elif columns := {c for c in first.columns if not first[c].equals(second[c])}:
            changed[name] = columns
    return changed


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two systems and two ASRs, whose transcripts are made up."""
    return finished_run(tmp_path_factory.mktemp("scored"), "keys", **RUN)


def _scored_again(stored: Path, **changes: Any) -> dict[str, pl.DataFrame]:
    """The tables of the stored run under another scoring."""
    runs = stored.parent
    # Not that of run.json, which the call before has changed.
    job = yaml.safe_load((runs / f"{stored.name}.yaml").read_text())
    path = runs / "again.json"
    scoring = job["scoring"] | changes.pop("scoring", {})
    path.write_text(json.dumps(job | {"scoring": scoring} | changes))
    assert main(["rescore", str(path), "--runs", str(runs)]) == 0
    return _tables(stored)


def test_scoring_keys_change_what_is_scored(stored: Path) -> None:
    before = _tables(stored)
    assert _differing(before, _scored_again(stored)) == {}
    for key in ("seed", "replicates", "confidence"):
        effect = EFFECTS[f"ScoringSpec.{key}"]
        changed = _differing(before, _scored_again(stored, scoring={key: effect.value}))
        for table, columns in RESAMPLED.items():
            # A confidence decides how wide intervals are, and no p-value.
            drawn = columns & {"low", "high"} if key == "confidence" else columns
            assert changed.get(table, set()) & columns == drawn, (key, table)
    assert "table1" in _differing(before, _scored_again(stored, tables=["table2"]))
    for key in ("references", "normaliser", "metrics"):
        effect = EFFECTS[f"ScoringSpec.{key}"]
        changed = _differing(before, _scored_again(stored, scoring={key: effect.value}))
        assert changed["scores"] & {"score", "rows", "signature"}, key
