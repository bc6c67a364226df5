"""SPICE: what it needs is checked, its program is called as it wants, and its answer is read.

The program itself is not run here: CoreNLP 3.6.0 and a Java 8 or 11 are the user's.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.cli import main
from bench.common.errors import RunFailed, UserError
from bench.metrics.cider import Cider
from bench.metrics.java import java
from bench.metrics.loading import check_metrics, metrics_text
from bench.metrics.spice import JARS, Spice, SpiceSettings, java_version, read_f_scores
from bench.metrics.tokens import package_file

JAVA = """import json, sys
if sys.argv[1:] == ["-version"]:
    print('openjdk version "{version}" 2020-01-01', file=sys.stderr)
    sys.exit()
place = sys.argv.index("edu.anu.spice.SpiceScorer")
asked = json.load(open(sys.argv[place + 1]))
if asked[0]["test"] == "fails":
    print("Exception in thread main: no memory", file=sys.stderr)
    sys.exit(1)
scores = [
    {{"image_id": each["image_id"], "scores": {{"All": {{"f": len(each["test"]) / 10}}}}}}
    for each in reversed(asked)
]
json.dump(scores, open(sys.argv[sys.argv.index("-out") + 1], "w"))
"""


def _java(folder: Path, version: str) -> Path:
    """A program that says it is a Java, and answers as SPICE does: a tenth of a text's length."""
    program = folder / f"java-{version}.py"
    program.write_text(JAVA.format(version=version))
    # A shell starts it, because the first line of a script cannot name a path with a space.
    path = folder / f"java-{version}"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}" "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def settings(tmp_path: Path) -> SpiceSettings:
    """Settings whose CoreNLP and Java are there, as far as files say."""
    (tmp_path / "corenlp").mkdir()
    for name in JARS:
        (tmp_path / "corenlp" / name).write_text(name)
    java = _java(tmp_path, "1.8.0_392")
    return SpiceSettings(name="spice", corenlp=tmp_path / "corenlp", java=java)


def test_scores_are_the_program_s_and_their_mean_with_cider(
    settings: SpiceSettings, tmp_path: Path
) -> None:
    metric = settings.metric()
    references = {"a": ["two dogs run"], "b": ["a cat sits"], "c": ["a bird flies"]}
    texts = {"c": "a bird flies", "a": "two", "b": ""}
    with metric.opened(references, tmp_path) as count:
        counted = count(texts, references)
    assert counted[:, 0] == pytest.approx([120, 30, 0])
    cider = Cider().statistics(texts, references)
    assert np.array_equal(counted[:, 1], cider[:, 0])
    spice, spider = metric.score(counted.sum(0))
    assert spice == pytest.approx(50)
    assert spider == pytest.approx((50 + Cider().score(cider.sum(0))[0]) / 2)
    assert (tmp_path / "spice").is_dir()
    with pytest.raises(RunFailed, match="SPICE ended with 1: Exception in thread main: no memory"):
        metric.statistics({"a": "fails"}, references)


def test_the_command_names_the_user_s_java_and_corenlp(settings: SpiceSettings) -> None:
    metric = settings.metric()
    command = metric.command(Path("in.json"), Path("out.json"), Path("parses"))
    assert command[0] == str(settings.java)
    classes = command[command.index("-cp") + 1].split(":")
    folder = package_file("spice")
    assert classes[:2] == [str(folder / "spice-1.0.jar"), str(folder / "lib" / "*")]
    assert classes[2:] == [str(settings.corenlp / name) for name in JARS]
    after = command[command.index("edu.anu.spice.SpiceScorer") + 1 :]
    assert " ".join(after) == "in.json -cache parses -out out.json -subset -silent"


def test_an_answer_is_read_by_item() -> None:
    answer = [
        {"image_id": "b", "scores": {"All": {"pr": 1.0, "f": 0.25}, "Object": {"f": None}}},
        {"image_id": "a", "scores": {"All": {"pr": 0.5, "f": None}}},
        {"image_id": "c", "scores": {"All": json.loads('{"f": NaN}')}},
    ]
    assert read_f_scores(answer, ["a", "b", "c"]).tolist() == [0, 0.25, 0]
    with pytest.raises(KeyError):
        read_f_scores(answer, ["d"])


def test_what_is_lacking_is_one_line(settings: SpiceSettings, tmp_path: Path) -> None:
    check_metrics([settings], {})
    digest = settings.metric().weights()
    assert metrics_text([settings]).endswith(f",spice@{digest[:8]}.java-8")
    assert java_version(_java(tmp_path, "11.0.21")) == 11
    faults = {
        "java: .*java-17.0.1 is Java 17; name the program of a Java 8 or 11": {
            "java": _java(tmp_path, "17.0.1")
        },
        # The suite's own is not taken in its place.
        "java: .* is Java 2[0-9]; name the program of a Java 8 or 11": {"java": Path(java())},
        "java: .*none: no such file; name the program": {"java": tmp_path / "none"},
        r"corenlp: .*/stanford-corenlp-3.6.0.jar: no such file; unpack stanford-corenlp-full": {
            "corenlp": tmp_path
        },
    }
    for line, changes in faults.items():
        with pytest.raises(UserError, match=f"scoring: metrics: spice: {line}"):
            check_metrics([settings.model_copy(update=changes)], {})


def test_doctor_names_what_is_lacking(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = tmp_path / "job.yaml"
    spice = f"{{name: spice, corenlp: {tmp_path}, java: {_java(tmp_path, '11.0.2')}}}"
    job.write_text(
        "name: spice\ndataset: {name: scenes}\nsystems: [{kind: text}]\n"
        f"scoring: {{metrics: [{spice}]}}\n"
    )
    assert main(["doctor", str(job)]) == 2
    assert "failed  weights    scoring: metrics: spice: corenlp:" in capsys.readouterr().out


def test_metrics_with_other_settings_differ(settings: SpiceSettings, tmp_path: Path) -> None:
    metric = settings.metric()
    assert metric == settings.metric()
    assert metric != Spice(tmp_path, settings.java)
