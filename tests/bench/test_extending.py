"""The examples of docs/extending.md, run from outside the package as they stand there."""

import json
import re
import runpy
import sys
from pathlib import Path

import polars as pl
import pytest
import soundfile
from PIL import Image

from bench.cli import main
from bench.common.audio import read_speech
from bench.datasets.scenes.load import load_scenes

pytestmark = pytest.mark.slow

DOC = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the examples' files, and of some that have names of installed modules."""
    text = DOC.read_text(encoding="utf-8")
    for name, content in re.findall(r"```\w+ file=(\S+)\n(.*?)```", text, re.DOTALL):
        (tmp_path / name).write_text(content)
    (tmp_path / "bench").mkdir()
    for name in ("bench/__init__.py", "whisper.py", "ray.py", "json.py"):
        (tmp_path / name).write_text("raise ImportError('the wrong file')")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_metric_gets_intervals_tests_tables_and_a_signature(outside: Path) -> None:
    assert main(["run", "metric.yaml"]) == 0
    run = outside / "results" / "runs" / "own-metric"
    table = pl.read_parquet(run / "tables" / "table1.parquet").filter(block="measured")
    assert (
        table.filter(pl.col("LR_low") < pl.col("LR"), pl.col("LR") < pl.col("LR_high")).height == 2
    )
    assert "| LR |" in (run / "tables" / "table1.md").read_text()
    scores = pl.read_parquet(run / "scores.parquet").filter(metric="length ratio")
    assert scores["signature"].str.contains(r"wordcount:LengthRatio@[0-9a-f]{8}").all()
    assert (pl.read_parquet(run / "rows.parquet")["length ratio"] > 0).all()
    assert "LR is length ratio." in (run / "tables" / "table1.md").read_text()


def test_an_installed_package_adds_a_metric_by_its_entry_point(
    outside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    points = re.search(r"```toml\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    assert points is not None
    text = points[1].replace("project.entry-points.", "").replace('"', "")
    facts = outside / "installed" / "theirs-1.2.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.2\n")
    (facts / "entry_points.txt").write_text(text)
    job = (outside / "metric.yaml").read_text().replace("wordcount:LengthRatio", "length")
    (outside / "metric.yaml").write_text(job)
    assert main(["run", "metric.yaml"]) == 2
    known = "clip_score, dnsmos, dnsmos_p808, pauses, pitch, sbert_sim, speaker_similarity"
    assert f"'length' is not known; choose one of {known}" in capsys.readouterr().err
    monkeypatch.syspath_prepend(str(outside / "installed"))
    assert main(["show", "plugins"]) == 0
    listed = capsys.readouterr().out
    assert re.search(r"metric +length +wordcount:LengthRatio +theirs +1\.2", listed)
    assert main(["run", "metric.yaml"]) == 0
    scores = pl.read_parquet(outside / "results/runs/own-metric/scores.parquet")
    signature = scores.filter(metric="length ratio")["signature"]
    assert signature.str.contains(r"length@1\.2\.[0-9a-f]{8}").all()


def test_a_finished_run_is_measured_without_speech_or_transcripts_again(
    outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def parts(run: Path) -> dict[str, set[str]]:
        stages = ("generated", "transcribed", "measured")
        return {s: {p.name for p in (run / "ledger" / s).rglob("*.parquet")} for s in stages}

    def derived(run: Path) -> dict[str, bytes]:
        files = [run / "rows.parquet", run / "scores.parquet", *(run / "tables").iterdir()]
        return {file.name: file.read_bytes() for file in files}

    job = (outside / "audio.yaml").read_text()
    (outside / "before.yaml").write_text(job.replace('metrics: ["loudness:Loudness"], ', ""))
    assert main(["run", "before.yaml"]) == 0
    run = outside / "results" / "runs" / "own-audio"
    before, pace = parts(run), (run / "pace.json").read_bytes()
    assert main(["rescore", "audio.yaml"]) == 2
    assert "6 values are not measured yet by loudness:Loudness" in capsys.readouterr().err
    assert main(["run", "audio.yaml"]) == 0
    assert "6 of 6 rows already there" in capsys.readouterr().out
    after = parts(run)
    assert after["measured"]
    assert after | {"measured": set()} == before
    assert (run / "pace.json").read_bytes() == pace
    # A run that has measured from the start gives the same bytes, and this one again nothing more.
    assert main(["run", "audio.yaml", "--runs", "unbroken"]) == 0
    assert main(["run", "audio.yaml"]) == 0
    assert parts(run) == after
    assert derived(run) == derived(outside / "unbroken" / "own-audio")
    scores = pl.read_parquet(run / "scores.parquet").filter(metric="loudness")
    assert scores["signature"].str.contains(r"loudness:Loudness@[0-9a-f]{8}").all()
    table = pl.read_parquet(run / "tables" / "table1.parquet").filter(block="measured")
    recorded, silence = table["dB"]
    assert silence < -99 < recorded < 0
    assert table["best"].to_list() == [[], []]
    assert "dB is loudness in dB of full scale" in (run / "tables" / "table1.md").read_text()
    capsys.readouterr()
    both = ["own-audio", "unbroken/own-audio", "--systems", "recorded speech", "silence"]
    assert main(["compare", *both]) == 0
    assert re.search(rf"loudness +{recorded:.2f} +-100.00", capsys.readouterr().out)


def test_a_metric_of_pictures_sees_text_and_picture(outside: Path) -> None:
    assert main(["run", "picture.yaml"]) == 0
    run = outside / "results" / "runs" / "own-picture"
    scores = pl.read_parquet(run / "scores.parquet").filter(metric="named colour")
    shares = dict(zip(scores["system"], scores["score"], strict=True))
    assert 0 < shares["a caption"] <= 100
    assert shares["half of it"] <= shares["a caption"]
    assert scores["signature"].str.contains(r"colours:NamedColour@[0-9a-f]{8}").all()
    own = pl.read_parquet(run / "rows.parquet").filter(system="a caption")["named colour"]
    assert own.mean() == pytest.approx(shares["a caption"])


def test_a_metric_whose_name_is_taken_is_one_line(
    outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = (outside / "wordcount.py").read_text()
    (outside / "taken.py").write_text(source.replace('"length ratio", "LR"', '"CIDEr", "C"'))
    job = (outside / "metric.yaml").read_text().replace("wordcount:", "taken:")
    (outside / "metric.yaml").write_text(job)
    assert main(["run", "metric.yaml", "--runs", "other"]) == 2
    assert "'C' is also the name of another metric; rename one" in capsys.readouterr().err


def test_a_system_is_generated_and_transcribed(outside: Path) -> None:
    assert main(["run", "system.yaml"]) == 0
    summary = json.loads((outside / "results/runs/own-system/summary.json").read_text())
    (cell,) = summary["cells"]
    assert (cell["system"], cell["role"], cell["n"], cell["failed"]) == ("hum", "system", 2, 0)


def test_a_manifest_is_a_dataset_and_a_report_reads_its_run(
    outside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, name in enumerate(("robin", "gull")):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(outside / f"{name}.png")
    assert main(["run", "dataset.yaml"]) == 0
    run = outside / "results" / "runs" / "own-dataset"
    table = (run / "tables" / "table1.md").read_text()
    assert "2 of 2 folder birds images \\(own data\\)" in table
    (outside / "speech").mkdir()
    for name, item in zip(("robin", "gull"), load_scenes(None).items, strict=False):
        assert item.captions[0].speech is not None
        soundfile.write(
            outside / "speech" / f"{name}.wav", read_speech(item.captions[0].speech, 16_000), 16_000
        )
    assert main(["run", "wavs.yaml"]) == 0
    frame = pl.read_parquet(outside / "results/runs/own-wavs/tables/table1.parquet")
    # No paper has to do with people's own data.
    assert frame.select("block", "system", "n", "failed").rows() == [
        ("measured", "my system", 2, 0)
    ]
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["worst.py", str(run)])
    runpy.run_path(str(outside / "worst.py"))
    assert re.match(r"a caption: (robin|gull) \(\d+\.\d\): 'a", capsys.readouterr().out)


def test_an_asr_transcribes_and_is_signed(outside: Path) -> None:
    assert main(["run", "asr.yaml"]) == 0
    run = outside / "results" / "runs" / "own-asr"
    rows = pl.read_parquet(run / "rows.parquet")
    said = dict(rows.group_by("system").agg(pl.col("transcript").unique().first()).iter_rows())
    assert said == {"recorded speech": "loud", "silence": "quiet"}
    signature = pl.read_parquet(run / "scores.parquet")["signature"]
    assert signature.str.contains(r"twowords:TwoWords@[0-9a-f]{16}").all()


def test_a_pattern_is_a_list(outside: Path) -> None:
    runpy.run_path(str(outside / "lagging.py"))
    assert main(["run", "pattern.yaml"]) == 0
    scores = pl.read_parquet(outside / "results" / "runs" / "own-pattern" / "scores.parquet")
    assert set(scores["pattern"]) == {"delays-0-2-4-6"}
