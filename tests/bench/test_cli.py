"""The command: quick to start, one line for bad input."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import main
from bench.spec import Job
from bench.training.spec import TrainingJob
from bench.yamlfile import parse


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom bench.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'ray', 'transformers', 'polars', 'pydantic', 'numpy'}\n"
        "sys.exit(str(sorted(heavy & sys.modules.keys())) if heavy & sys.modules.keys() else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "evaluate" in done.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "not readable as YAML"),
        ("name: a\ndataset: {name: scenes}\nsystems: []", "systems: Tuple should have at least 1"),
        ("name: a\ndataset: {name: coco}\nsystems: [{kind: recorded}]", "'scenes', 'flickr8k'"),
        ("name: a\ndataset: {name: scenes}\nsystems: [{kind: recorded}]\nlimt: 3", "limt: Extra"),
        ("name: ../a\ndataset: {name: scenes}\nsystems: [{kind: recorded}]", "name: String should"),
    ],
)
def test_a_bad_job_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(text)
    assert main(["run", str(job), "--runs", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith(f"pixvox: {job}: ")
    assert error.count("\n") == 1


def test_a_job_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "nowhere.yaml"]) == 2
    assert capsys.readouterr().err == "pixvox: nowhere.yaml: no such file\n"


def test_every_job_file_is_read() -> None:
    jobs = Path(__file__).parents[2] / "jobs"
    for kind, files in ((Job, jobs.glob("*.yaml")), (TrainingJob, (jobs / "train").glob("*.yaml"))):
        found = [parse(path, kind) for path in files]
        assert len(found) > 5
