"""`pixvox runs` on a ledger made by hand, and the lock that keeps two drivers apart."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import main
from bench.errors import UserError
from bench.ledger import Ledger
from bench.rows import HEARD_SCHEMA, SPOKEN_SCHEMA, HeardRow, Spoken, frame

CELL = {"cell": "delay-0-aaaa", "system": "delay", "prompt": 0.0}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    run = tmp_path / "runs" / "trial"
    ledger = Ledger(run / "ledger")
    ledger.append("spoken", "aaaa", frame([Spoken("1", "ok"), Spoken("2", "ok")], SPOKEN_SCHEMA))
    ledger.append("heard", "bbbb", frame([HeardRow("1", "ok")], HEARD_SCHEMA))
    ledger.append("heard", "bbbb", frame([HeardRow("2", "failed", "hiss")], HEARD_SCHEMA))
    ledger.append("heard", "old0", frame([HeardRow("1", "ok")], HEARD_SCHEMA))
    cells = [CELL | {"speech_key": "aaaa", "heard_key": "bbbb"}]
    (run / "run.json").write_text(json.dumps({"job": {}, "cells": cells}))
    return run.parent


def _said(capsys: pytest.CaptureFixture[str], runs: Path, *words: str) -> tuple[int, str]:
    code = main(["runs", *words, "--runs", str(runs)])
    said = capsys.readouterr()
    return code, " ".join((said.out + said.err).split())


def test_a_run_is_listed_and_shown(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = _said(capsys, runs, "list")
    assert code == 0
    assert "trial 1 2 1 4 0.0" in text
    assert "delay-0-aaaa delay 0% 2 2 1" in _said(capsys, runs, "show", "trial")[1]
    code, text = _said(capsys, runs, "show", "tial")
    assert code == 2
    assert "no run 'tial'; there are: trial" in text


def test_a_flipped_byte_is_found_and_named(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _said(capsys, runs, "verify", "trial") == (0, "trial: 4 parts, 0 damaged")
    (part,) = (runs / "trial" / "ledger" / "spoken").rglob("part-*.parquet")
    data = bytearray(part.read_bytes())
    data[-30] ^= 4
    part.write_bytes(data)
    code, text = _said(capsys, runs, "verify", "trial")
    assert code == 1
    assert f"{part}: damaged" in text
    # Verifying changes nothing; only a driver sets a damaged part aside.
    assert part.exists()


def test_pruning_keeps_what_the_job_needs(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    remains = runs / "trial" / "ledger" / "heard" / "bbbb" / ".part-x.parquet.12"
    remains.write_bytes(b"half")
    assert _said(capsys, runs, "prune", "trial")[0] == 0
    assert not remains.exists()
    assert not (runs / "trial" / "ledger" / "heard" / "old0").exists()
    assert _said(capsys, runs, "verify", "trial") == (0, "trial: 3 parts, 0 damaged")


def test_two_drivers_cannot_write_one_run(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from bench.ledger import Ledger\n"
        "with Ledger(Path(sys.argv[1])).lock():\n    print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    with pytest.raises(UserError, match=f"process {other.pid}"), Ledger(tmp_path).lock():
        pass
    other.kill()
    other.wait()
    # However a driver ends, it leaves no stale lock behind.
    with Ledger(tmp_path).lock():
        pass
