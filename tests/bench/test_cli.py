"""The command: quick to start, one line for bad input."""

import io
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.cli import COMMANDS, main
from bench.common.yamlfile import parse
from bench.jobs.spec import Job
from bench.narration.job import NarrationJob
from bench.training.spec import TrainingFile


def _imports(arguments: list[str]) -> tuple[set[str], str]:
    """The modules that a command has imported when it ends, and what it printed."""
    program = (
        "import sys\nfrom bench.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stderr.split()), done.stdout


def test_help_imports_nothing_heavy() -> None:
    modules, said = _imports(["--help"])
    assert not modules & {"torch", "ray", "transformers", "polars", "pydantic", "numpy"}
    assert "Evaluate" in said


def test_a_command_is_a_line_and_a_module() -> None:
    assert len(COMMANDS) <= 16
    for command in COMMANDS.values():
        for single in (command.commands or {"": command}).values():
            module = import_module(f"bench.commands.{single.module}")
            assert callable(module.add_arguments)
            assert callable(module.run)


def test_what_generates_and_transcribes_nothing_imports_no_model(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    text = "name: a\ndataset: {name: scenes}\nlimit: 2\nsystems: [{kind: text}]\n"
    job.write_text(text)
    models = {"torch", "ray", "transformers", "numba", "whisper", "faster_whisper", "matplotlib"}
    modules, said = _imports(["run", str(job), "--runs", str(tmp_path / "runs")])
    assert not modules & models
    assert "2 rows, 0 failed" in said
    # What has been looked at once is known by its digest.
    pixvox = "{kind: pixvox, label: a, weights: zoo:pixvox-tiny-delay}"
    job.write_text(f"{text[:-2]}, {{kind: recorded}}, {pixvox}]\n")
    dry = ["run", str(job), "--runs", str(tmp_path / "runs"), "--dry-run"]
    assert main(dry) == 0
    modules, said = _imports(dry)
    assert not modules & models
    assert "4 to generate, 4 to transcribe" in said


@pytest.mark.parametrize("arguments", [["--version"], ["perf", "--version"]])
def test_the_version_is_that_of_the_package(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    if arguments == ["--version"]:
        assert ended.value.code == 0
        assert capsys.readouterr().out == f"pixvox-bench {version('pixvox-bench')}\n"
    else:
        assert ended.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rnu"], "did you mean run?"),
        (["run", "x.yaml", "--limt", "3"], "did you mean --limit?"),
        (["run", "x.yaml", "--limit", "0"], "--limit: '0': a whole number from 1 to 10,000,000"),
        (["speak", "x", "-o", "y", "--top-k", "1,x"], "--top-k: 'x': a whole number from"),
        (["speak", "x", "-o", "y", "--temperature", "0.0005"], "must be 0 (greedy) or from 0.001"),
        (["scenes", "x", "--images", "-1"], "--images: '-1'"),
        (["scenes", "x", "--images", "9" * 5000], "'…: a whole number from 1"),
        (["scenes", "x", "--seed", "1.5"], "--seed: '1.5'"),
        (["scenes", "x", "--split", "../y"], "--split: '../y': a name"),
        (["perf", "decode", "--rounds", "0"], "--rounds: '0'"),
        (["run", "x", "--limit", "1000000000000"], "--limit"),
        (["perf", "decode", "--seconds", "nan"], "--seconds: 'nan': a number from 0.1 to 30"),
        (["perf", "transcribe", "--images", "1000000000000"], "--images"),
        (["runs", "show", "..x"], "name: '..x'"),
        (["report", "x" * 101], "RUN: 'xxx"),
        (["runs", "show", "x" * 300], "at most 100 characters"),
        (["run", "x" * 300], "too long for a file system"),
        (["run", "a\0b"], "null character"),
        (["show", "model", "~nobody-of-this-name/x"], "no such user"),
    ],
)
def test_a_bad_argument_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert message in error
    assert error.startswith("pixvox: ")
    assert error.count("\n") == 1
    assert len(error) < 300


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_of_any_encoding_shows_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    (tmp_path / "job.yaml").write_text(
        "{name: a, dataset: {name: scenes}, limit: 2, systems: [{kind: text, label: 一 ×}]}",
        encoding="utf-8",
    )
    printed = io.BytesIO()
    with io.TextIOWrapper(printed, encoding=encoding) as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        assert main(["run", str(tmp_path / "job.yaml"), "--dry-run"]) == 0
        assert ("一 ×" in printed.getvalue().decode(encoding)) == (encoding == "utf-8")


def test_a_job_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "nowhere.yaml"]) == 2
    assert capsys.readouterr().err == "pixvox: nowhere.yaml: no such file\n"


def test_every_job_file_is_read() -> None:
    kinds: dict[bool, Any] = {True: TrainingFile, False: Job}
    read = 0
    for path in sorted((Path(__file__).parents[2] / "jobs").rglob("*.yaml")):
        content = yaml.safe_load(path.read_text())
        parse(
            path,
            NarrationJob
            if "voice" in content
            else kinds[bool({"kind", "stages"} & content.keys())],
        )
        read += 1
    assert read > 20
