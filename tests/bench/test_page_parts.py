"""What goes into the page, and what is made beside it: sweeps, differences, charts, pictures."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from pages import HOSTILE, LABEL, VIEWS, Opened
from PIL import Image
from playwright.sync_api import Browser

from bench.cli import main
from bench.common.yamlfile import validate
from bench.datasets.loading import load_dataset
from bench.datasets.shipped import AnyDataset
from bench.report.page.build import plain_json
from bench.report.page.finished import read_finished, scored_dataset
from bench.report.page.sweeps import sweep
from bench.report.page.words import differences


def test_hostile_text_is_inert(runs: Path, single: Path, show: Opened) -> None:
    stored = pl.read_parquet(runs / "one" / "rows.parquet")["transcript"]
    assert HOSTILE in stored.to_list()
    page = show(single, "#/item/test_00001")
    text = page.locator("#item").inner_text()
    assert "</script><img src=x onerror=alert(1)>⟨U+202E⟩⟨U+2028⟩{{7*7}}␇" in text
    assert LABEL in text
    assert page.locator("#item b, #item img").count() == 1
    page.goto(f"{single.as_uri()}#/compare?q=%3Cscript%3Ealert(3)%3C%2Fscript%3E")
    assert page.get_by_label("Search text").input_value() == "<script>alert(3)</script>"
    html = single.read_text()
    assert html.count("<script>") == 1
    assert not set("\u202e\u2028\x07") & set(html)
    assert "default-src 'none'" in html.split("</title>")[0]
    # The policy lets nothing run that was not there when the page was made.
    ran = "const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
    other = page.context.new_page()
    other.goto(single.as_uri())
    other.evaluate(f"() => {{ {ran} document.body.append(s) }}")
    assert other.evaluate("window.ran") is None
    assert plain_json("</script>\u2028&") == '"\\u003c/script\\u003e\\u2028\\u0026"'


def test_a_sweep_is_drawn_along_its_axis_and_every_level_has_its_mean(runs: Path) -> None:
    run = read_finished(runs / "one")
    cold, hot = (
        run.scores.with_columns(temperature=pl.lit(heat), score=pl.col("score") + 10 * heat)
        for heat in (0.0, 1.0)
    )
    found = sweep(replace(run, scores=pl.concat([cold, hot])))
    assert found is not None
    assert found["along"] == "temperature"
    bleu = [chart["svg"] for chart in found["charts"] if chart["title"] == "BLEU-4"]
    assert bleu[0].count("<polyline") == len(found["legend"]) > 1
    # Nothing else on the page says these numbers: the picture's name reads its points.
    assert bleu[0].split(">")[0].count(" at 1.") == len(found["legend"])
    at = found["effects"]["metrics"].index("BLEU-4")
    rows = {(r["axis"], r["level"]): float(r["scores"][at]) for r in found["effects"]["rows"]}
    assert rows["temperature", "1"] - rows["temperature", "0"] == pytest.approx(10, abs=0.011)
    assert sweep(run) is None
    own = cold.filter(metric="BLEU-4", part="whole", prompt=0.5, asr="openai-whisper tiny.en")
    assert rows["prompt", "0.5"] == pytest.approx(own["score"].mean() + 5, abs=0.006)


def test_asrs_of_one_label_are_told_apart(runs: Path) -> None:
    tables = runs / "one" / "tables"
    audit = pl.read_parquet(tables / "audit.parquet")
    names = {"openai-whisper tiny.en", "openai-whisper tiny.en, beam 2"}
    assert {*audit["asr"], *audit["other"]} == names
    assert set(pl.read_parquet(runs / "one" / "scores.parquet")["asr"].drop_nulls()) == names
    assert not pl.read_parquet(tables / "sensitivity.parquet").is_empty()


def test_words_are_told_apart_beside_the_nearest_reference() -> None:
    refs = [(0, "two cats sleep"), (3, "A brown dog is rolling.")]
    (found,) = differences(["so a brown dot is"], [refs])
    assert (found.reference, found.edits) == (3, 3)
    assert found.pieces == (
        ("+", "", "so"),
        ("=", "A brown", "a brown"),
        ("~", "dog", "dot"),
        ("=", "is", "is"),
        ("-", "rolling.", ""),
    )
    (empty,) = differences([""], [refs])
    assert [op for op, *_ in empty.pieces] == ["-"]
    (none,) = differences(["words"], [[]])
    assert (none.reference, none.pieces) == (-1, (("=", "words", "words"),))


def test_its_speed_is_measured(tmp_path: Path, browser: Browser) -> None:
    # One Playwright runs in a process; the command's own runs in another.
    command = ["perf", "report", "--items", "12", "--cells", "2", "--rounds", "1"]
    asked = [sys.executable, "-m", "bench.cli", *command, "--save", str(tmp_path / "it.json")]
    subprocess.run(asked, check=True, capture_output=True, timeout=60)
    figures = json.loads((tmp_path / "it.json").read_text())
    assert {"first paint", "sort", "filter"} <= figures["milliseconds"].keys()
    assert figures["bytes"] > 10_000


def test_pictures_are_taken_of_every_view(single: Path, browser: Browser, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.cli", "perf", "screenshots", str(single), str(tmp_path)]
    asked = [*command, "--item", "test_00001"]
    subprocess.run(asked, check=True, capture_output=True, timeout=60)
    bright = {}
    for scheme in ("light", "dark"):
        with Image.open(tmp_path / f"item-{scheme}-360.png") as picture:
            assert picture.width == 360
            bright[scheme] = picture.convert("L").resize((1, 1)).tobytes()[0]
    assert bright["dark"] < bright["light"]
    assert len(list(tmp_path.glob("*.png"))) == 4 * len(VIEWS)


def test_charts_are_files_for_a_paper(runs: Path, tmp_path: Path) -> None:
    target = str(tmp_path / "page.html")
    asked = ["report", "one", "--runs", str(runs), "-o", target, "--figures", str(tmp_path)]
    assert main(asked) == 0
    waterfall = pl.read_parquet(runs / "one" / "tables" / "waterfall.parquet")
    assert {path.suffix for path in tmp_path.iterdir()} == {".html", ".svg", ".png"}
    # Two scores are in every table, and each of their models has a waterfall.
    models = waterfall["system"].n_unique()
    assert len(list(tmp_path.glob("one-lost-*.svg"))) == 2 * models
    with Image.open(tmp_path / "one-prompt-C.png") as picture:
        assert picture.width == round(300 * 3.3)


def test_an_unfinished_run_is_said_in_one_line(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(runs / "one", tmp_path / "one")
    (tmp_path / "one" / "summary.json").unlink()
    assert main(["report", "one", "--runs", str(tmp_path)]) == 2
    assert "not finished" in capsys.readouterr().err
    assert main(["report", "none", "--runs", str(tmp_path)]) == 2
    assert "there are: one" in capsys.readouterr().err


def test_pictures_that_cannot_be_read_are_counted(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.report.page.content.pictures", lambda paths: [None for _ in paths])
    target = str(tmp_path / "page.html")
    assert main(["report", "one", "--runs", str(runs), "-o", target]) == 0
    said = capsys.readouterr().out
    assert re.search(
        r"without \d+ pictures that could not be read, the first is that of test_", said
    )


def test_only_the_data_that_were_scored_are_shown(tmp_path: Path) -> None:
    manifest, picture = tmp_path / "m.jsonl", tmp_path / "a.png"
    line = '{"image": "a.png", "captions": ["a dog runs", "a dog"]}'
    manifest.write_text(line)
    Image.new("RGB", (8, 8), "red").save(picture)
    job = {"dataset": {"name": "folder", "manifest": str(manifest)}}
    digest = load_dataset(validate(job["dataset"], AnyDataset, "job")).digest
    dataset, lost = scored_dataset(job, digest)
    assert dataset is not None
    assert lost == ""
    manifest.write_text(line.replace("runs", "sleeps"))
    assert scored_dataset(job, digest)[0] is None
    manifest.write_text(line)
    Image.new("RGB", (8, 8), "blue").save(picture)
    other, lost = scored_dataset(job, digest)
    assert other is None
    assert f"than when it was scored (digest {digest})" in lost
    picture.unlink()
    assert scored_dataset(job, digest)[0] is None
    manifest.unlink()
    assert "m.jsonl: no such file" in scored_dataset(job, digest)[1]
