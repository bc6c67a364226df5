"""The doctor names the system and what to do, and leaves nothing behind."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.cli import main
from bench.commands.doctor import _Check
from bench.common.errors import RunFailed


def _job(tmp: Path, **system: Any) -> Path:
    path = tmp / "job.yaml"
    content = {"name": "a", "dataset": {"name": "scenes"}, "systems": [{"label": "mine"} | system]}
    content["caption"] = 99
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize(
    ("system", "reason"),
    [
        (
            {"kind": "pixvox", "weights": "zoo:nothing"},
            "failed  weights    mine: zoo:nothing: ",
        ),
        ({"kind": "python", "entry": "os:C"}, "failed  weights    mine: "),
        ({"kind": "wavs", "folder": "/nowhere"}, "/nowhere: no such folder; mine needs its audio"),
        ({"kind": "recorded"}, "test_00000: has no caption 99; fix what"),
    ],
)
def test_a_failure_names_the_system_and_the_fix(
    tmp_path: Path,
    temporary: Path,
    capsys: pytest.CaptureFixture[str],
    system: dict[str, Any],
    reason: str,
) -> None:
    assert main(["doctor", str(_job(tmp_path, **system))]) == 2
    printed = capsys.readouterr().out
    assert reason in printed
    assert list(temporary.glob("pixvox-*")) == []


def test_what_is_no_fault_of_the_input_is_status_3(
    temporary: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(check: _Check) -> str:
        raise RunFailed("the PTB tokeniser failed; reinstall it")

    monkeypatch.setattr(_Check, "java", fails)
    assert main(["doctor"]) == 3
    assert "failed  java       the PTB tokeniser failed" in capsys.readouterr().out
    assert list(temporary.glob("pixvox-*")) == []


def test_a_bug_shows_its_traceback(
    temporary: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(check: _Check) -> str:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(_Check, "java", fails)
    assert main(["doctor"]) == 3
    assert "Traceback" in capsys.readouterr().err
    assert list(temporary.glob("pixvox-*")) == []
