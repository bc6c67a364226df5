"""Values that the command line sets in a job."""

import json
from pathlib import Path

import pytest

from bench.cli import main
from bench.common.errors import UserError
from bench.common.jobfile import JobFile, read_named, read_override
from bench.jobs.spec import Job

MODEL = "{kind: pixvox, label: a, weights: b, decoding: &how {temperature: 0.5}}"
JOB = f"""\
name: trial
dataset: {{name: scenes}}
systems:
  - {MODEL}
  - {{kind: pixvox, label: c, weights: b, decoding: *how}}
"""


def _read(folder: Path, *changes: str, text: str = JOB) -> Job:
    (folder / "job.yaml").write_text(text)
    file = JobFile(folder / "job.yaml", tuple(read_override(change) for change in changes))
    job: Job = file.read(Job)
    return job


def test_values_of_any_depth_are_replaced_and_no_others(tmp_path: Path) -> None:
    before = _read(tmp_path).model_dump()
    changed = _read(
        tmp_path,
        "systems.0.decoding.guidance=1.5",
        "systems[0].decoding.seed=3",
        "systems.2={kind: recorded}",
        "scoring.replicates=100",
        "asr.model=base",
        "asr.model=tiny.en",
    ).model_dump()
    decoding = before["systems"][0]["decoding"] | {"guidance": 1.5, "seed": 3}
    first = before["systems"][0] | {"decoding": decoding}
    # The second system's decoding is an alias of the first's.
    assert changed["systems"][:2] == (first, before["systems"][1])
    assert changed["systems"][2]["kind"] == "recorded"
    assert changed["scoring"] == before["scoring"] | {"replicates": 100}
    assert changed["asr"] == before["asr"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            ["systems.0.decoding.slots=0"],
            "systems[0].decoding.slots: must be at least 1, not 0 (given by --set)",
        ),
        (["limmit=3"], "limmit: unknown key; did you mean `limit`? (given by --set)"),
        (["systems.3.label=x"], "systems[3]: the list has 2 entries (given by --set)"),
        (["systems.label=x"], "systems: is a list, not a mapping, so it has no key label (given"),
        (["name.0=x"], "name: is 'trial', not a list, so it has no entry 0 (given by --set)"),
        # What is wrong stands elsewhere than what was given.
        (["dataset.name=flickr8k"], "dataset.root: is missing (given by --set)"),
    ],
)
def test_an_error_names_the_key_and_the_option_that_set_it(
    tmp_path: Path, changes: list[str], message: str
) -> None:
    with pytest.raises(UserError) as refused:
        _read(tmp_path, *changes)
    assert str(refused.value).startswith(f"{tmp_path / 'job.yaml'}: ")
    assert message in str(refused.value)


def test_an_error_of_the_file_names_no_option(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        _read(tmp_path, "limit=0", text=f"{JOB}caption: -1\n")
    first, second = str(refused.value).split("; (2) ")
    assert "limit: must be at least 1, not 0 (given by --set)" in first
    assert second.startswith("caption: ")
    assert "given" not in second


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "limit"], "--set: 'limit': write KEY=VALUE, such as"),
        (["--set", "=3"], "--set: '=3': write KEY=VALUE"),
        (["--set", "limit="], "--set: limit: has no value; write limit=null for none"),
        (["--set", "asr=[a"], "--set: asr: not readable as YAML: line 1"),
        (["--asr", "{model: a"], "--asr: --asr: not readable as YAML: line 1"),
    ],
)
def test_an_invalid_override_gives_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "job.yaml", *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "rescore", "gate", "doctor"])
def test_all_commands_on_a_job_have_the_same_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "job.yaml").write_text(JOB)
    options = ["--set", "scoring.seed=-1", "--asr", "base", "--dataset", "scenes"]
    assert main([command, str(tmp_path / "job.yaml"), *options]) == 2
    error = "job.yaml: scoring.seed: must be at least 0, not -1 (given by --set)"
    assert error in capsys.readouterr().err


def test_values_of_a_training_job_are_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    job = Path(__file__).parents[2] / "jobs" / "train" / "encodec-tiny.yaml"
    for key, message in (
        ("stages.0.plan.steps", "stages[0].plan.steps: must be from 1 to 1e+08, not 0"),
        ("plan.steps", "plan: unknown key beside `stages`"),
    ):
        assert main(["train", str(job), "--set", f"{key}=0"]) == 2
        assert f"{message} (given by --set)" in capsys.readouterr().err


def test_short_forms_are_mappings(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB)
    overrides = (
        read_named("--asr", "model", "base"),
        read_named("--dataset", "name", "{name: folder, manifest: my data/a.jsonl}"),
    )
    file = JobFile(tmp_path / "job.yaml", overrides)
    job: Job = file.read(Job)
    assert job.asrs[0].label == _read(tmp_path, "asr={model: base}").asrs[0].label
    assert job.dataset.name == "folder"
    assert file.changes == ("--asr base", "--dataset '{name: folder, manifest: my data/a.jsonl}'")


def test_a_run_prints_and_records_the_overrides(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job, runs = tmp_path / "job.yaml", tmp_path / "my runs"
    job.write_text("{name: a, dataset: {name: scenes}, systems: [{kind: text}]}")
    options = ["--limit", "2", "--set", "scoring.replicates=100", "--set", "name=b"]
    assert main(["run", str(job), "--runs", str(runs), *options]) == 0
    run = json.loads((runs / "b" / "run.json").read_text())
    assert (run["job"]["limit"], run["job"]["scoring"]["replicates"]) == (2, 100)
    changes = ["--limit 2", "--set scoring.replicates=100", "--set name=b"]
    assert run["changes"] == changes
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"b: {job} with {' '.join(changes)}"
    (ended,) = (n for n, line in enumerate(lines) if line.startswith("b: finished in "))
    assert lines[ended].endswith(" s: 2 rows, 0 failed")
    assert lines[ended + 1] == f"files in {runs / 'b'}:"
    assert lines[-1] == f"pictures and speech: pixvox report '{runs / 'b'}'"
    # The command that it prints is one that works.
    assert main(["report", str(runs / "b")]) == 0
    assert main(["runs", "show", str(runs / "b")]) == 0
    assert f"changed by {' '.join(changes)}" in capsys.readouterr().out
    # What is lacking is asked for with the same options.
    more = ["--set", "name=b", "--limit", "3", "--set", "systems.1={kind: recorded}"]
    assert main(["rescore", str(job), "--runs", str(runs), *more]) == 2
    asked = "--limit 3 --set name=b --set 'systems.1={kind: recorded}'"
    assert f"run first: pixvox run {job} {asked}" in capsys.readouterr().err
