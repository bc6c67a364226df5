"""Two runs beside each other: the project's own statistics, on the items that both have."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from bench.cli import main

pytestmark = pytest.mark.slow

Printed = Callable[..., str]


@pytest.fixture
def compared(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Printed:
    """What the command prints on 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def printed(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        assert main(["compare", *arguments, "--runs", str(runs)]) == code
        said = capsys.readouterr()
        return said.err if code else said.out

    return printed


def test_two_systems_of_one_run_differ_as_its_own_tests_say(
    runs: Path, compared: Printed, tmp_path: Path
) -> None:
    names = ["<b onclick=alert(2)>tiny</b>", "delay"]
    said = compared("one", "one", "--systems", *names, "-o", str(tmp_path / "a.md"))
    tests = pl.read_parquet(runs / "one" / "tables" / "tests.parquet")
    assert tests.height > 10
    for row in tests.filter(pl.col("system").str.starts_with("delay")).iter_rows(named=True):
        shown = f"[{row['low']:+z.1f}, {row['high']:+z.1f}]"
        line = next(line for line in said.splitlines() if line.startswith(f"{row['metric']}  "))
        if row["prompt"] == 0:
            assert shown in line
            assert f"{row['difference']:+z.2f}" in line
    *lines, last = said.splitlines()
    assert lines[0] == f"delay of one (second) compared with {names[0]} of one (first)"
    assert max(map(len, lines)) <= 80
    assert last == f"{tmp_path / 'a.md'}: the comparison as Markdown"
    written = (tmp_path / "a.md").read_text()
    assert written.count("|:--|--:|") == 2
    assert "&lt;b onclick" in written


def test_the_items_in_common_are_compared_and_counted(
    runs: Path, compared: Printed, tmp_path: Path
) -> None:
    job = (runs / "two.yaml").read_text().replace("limit: 8", "limit: 5")
    (tmp_path / "two.yaml").write_text(job)
    fewer = tmp_path / "two"
    shutil.copytree(runs / "two", fewer)
    assert main(["rescore", str(tmp_path / "two.yaml"), "--runs", str(tmp_path)]) == 0
    said = compared("one", str(fewer))
    assert "Measured on the 5 images that both runs have, of 8 and 5; in percent." in said
    # Both systems, without a prompt and with one; neither ceilings nor floors.
    assert [said.count(name) for name in ("\ndelay\n", "\ndelay at 50%\n", "recorded")] == [1, 1, 0]
    # The first five alone, scored in both runs, come to the same.
    summary = json.loads((fewer / "summary.json").read_text())["rows"]
    (delay,) = (r for r in summary if (r["system"], r["prompt"]) == ("delay", 0))
    line = said.split("\ndelay\n")[1].split("BLEU-4")[1].split("\n")[0]
    assert line.split()[1] == f"{delay['scores']['BLEU-4']['score']:.2f}"


def test_systems_that_are_equal_for_every_image_are_one_line(compared: Printed) -> None:
    said = compared("one", "one")
    assert not any(line.startswith("score ") for line in said.splitlines())
    assert "Equal for every image: " in said
    assert "delay; delay at 50%" in " ".join(said.split())


@pytest.mark.parametrize(
    ("field", "code", "said"),
    [
        ("data", 2, "cannot be compared with"),
        ("references", 2, "The reading of the references is all; that of the first run is others."),
        ("asr", 0, "≈ The ASR is all; that of the first run is openai-whisper"),
    ],
)
def test_another_protocol_is_refused_or_said(
    runs: Path, compared: Printed, tmp_path: Path, field: str, code: int, said: str
) -> None:
    other = tmp_path / "two"
    shutil.copytree(runs / "two", other)
    summary = json.loads((other / "summary.json").read_text())
    for row in summary["rows"]:
        row["signature"][field] = "all"
    (other / "summary.json").write_text(json.dumps(summary))
    printed = compared("one", str(other), code=code)
    assert said in " ".join(printed.split())
    assert code == 0 or printed.count("\n") == 1


@pytest.mark.parametrize(("own", "code"), [("", 0), (",length:Ratio@0123abcd", 2)])
def test_a_metric_that_one_run_alone_has_is_left_out(
    runs: Path, compared: Printed, tmp_path: Path, own: str, code: int
) -> None:
    folders = [tmp_path / name for name in ("one", "two")]
    for folder, more in zip(folders, (",length:Ratio@85cfbf13", own), strict=True):
        shutil.copytree(runs / folder.name, folder)
        path = folder / "summary.json"
        summary = json.loads(path.read_text())
        for row in summary["rows"]:
            row["signature"]["metrics"] += more
        path.write_text(json.dumps(summary))
    printed = compared(*map(str, folders), code=code)
    assert ("version of the metrics" in printed) == bool(own)


def test_systems_that_are_not_there_are_named(compared: Printed) -> None:
    assert "no system 'x'; there are: " in compared("one", "two", "--systems", "x", "y", code=2)
    assert "no run 'three'; there are: one, two" in compared("one", "three", code=2)
