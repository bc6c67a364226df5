"""What goes into the page, and what is made beside it: sweeps, differences, charts, pictures."""

import json
import re
import shutil
from collections.abc import Sequence
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
from bench.report.page.build import build, plain_json
from bench.report.page.charts import prompt_curves
from bench.report.page.content import read_content
from bench.report.page.finished import read_finished, scored_dataset
from bench.report.page.overview import small_table, tables
from bench.report.page.sweeps import sweep
from bench.report.page.words import differences
from bench.report.sweeps import axis_charts
from bench.store.columns import schema
from bench.tables.points import COLUMNS
from tests.evidence.page import drawn_run
from tests.evidence.program import output_of

pytestmark = pytest.mark.slow


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


def _points(places: Sequence[tuple[float, float, float]]) -> pl.DataFrame:
    """Points of one system at (temperature, guidance), whose first is the best, with scores."""
    blank = dict.fromkeys(schema(COLUMNS))
    fixed = {"system": "x", "prompt": 0.0, "metric": "CIDEr", "kept": 5, "n": 16, "seeds": 2}
    rows = [
        blank
        | fixed
        | {"point": f"x, temperature {heat:g}, guidance {scale:g}", "temperature": heat}
        | {"guidance": scale, "score": value, "low": value - 4, "high": value + 4}
        | {"best": number == 0, "alike": number < 2, "tested": True}
        for number, (heat, scale, value) in enumerate(places)
    ]
    return pl.DataFrame(rows, schema=schema(COLUMNS))


GRID = [(0.5, 2.0, 40.0), (1.0, 2.0, 39.0), (0.5, 1.0, 20.0), (1.0, 1.0, 10.0)]


def test_a_sweep_shows_every_axis_with_intervals_and_the_best(runs: Path) -> None:
    run = read_finished(runs / "one")
    charts = sweep(replace(run, tables={"points": _points(GRID)}))
    assert charts is not None
    assert [axis["axis"] for axis in charts["axes"]] == ["temperature", "guidance"]
    (chart,) = charts["axes"][0]["charts"]
    assert chart["svg"].count("<polyline") == chart["svg"].count('class="spread"') == 2
    assert "guidance 2: 40.00 at 0.5, 39.00 at 1." in chart["svg"]
    (heat,) = charts["heats"]
    assert [heat["svg"].count(f'class="{kind}"') for kind in ("heat", "frame best")] == [4, 1]
    assert "temperature 1, guidance 2: 39.00 ±4.0, not told apart from the best." in heat["svg"]
    assert charts["bests"] == [
        "CIDEr: the best is temperature 0.5, guidance 2 (40.00 ±4.0); not significantly different "
        "at 5%: temperature 1, guidance 2."
    ]
    # What no point is told apart by has one frame, and a run of before an axis was there is drawn.
    alike = _points(GRID).with_columns(alike=pl.lit(True)).drop("candidates")
    charts = sweep(replace(run, tables={"points": alike}))
    assert charts is not None
    assert [charts["heats"][0]["svg"].count(f"frame {kind}") for kind in ("best", "alike")] == [
        1,
        0,
    ]
    assert charts["bests"] == [
        "CIDEr: with 8 items no point differs significantly; the best is temperature 0.5, guidance "
        "2 (40.00 ±4.0)."
    ]
    # Two systems of one place each vary along nothing.
    apart = _points(GRID[::3]).with_columns(system=pl.Series(["x", "y"]))
    assert sweep(replace(run, tables={"points": apart})) is None
    assert sweep(run) is None


def test_a_line_of_too_many_is_a_mean_that_says_so() -> None:
    places = [(heat, scale, 20 + scale) for heat in (0.5, 1.0) for scale in range(1, 11)]
    charts = {chart.axis: chart for chart in axis_charts(_points(places), prompts=False)}
    (line,) = charts["temperature"].lines
    assert (line.label, line.points) == ("x", ((0.5, 25.5), (1.0, 25.5)))
    assert charts["temperature"].averaged == ("guidance",)
    assert len(charts["guidance"].lines) == 2


def test_readings_and_small_tables_are_on_the_page(runs: Path) -> None:
    run = read_finished(runs / "one")
    both = replace(run, tables=run.tables | {"table1-all": run.tables["table1"]})
    own, other, _ = tables(both)
    assert other.title == f"{own.title}, scored against all references"
    notes = [" ".join(text for part in t.notes for text in part["texts"]) for t in (own, other)]
    assert ["This raises ceilings" in text for text in notes] == [False, True]
    assert other.file == "one-table1-all.csv"
    audit = small_table(run, "audit")
    assert audit is not None
    assert audit.alike == "asr openai-whisper tiny.en; other openai-whisper tiny.en, beam 2"
    assert small_table(replace(run, tables={}), "audit") is None


def test_one_cell_has_nothing_beside_it(tmp_path: Path, show: Opened) -> None:
    for cells in (1, 2):
        run, file = drawn_run(2, cells, 0), tmp_path / f"{cells}.html"
        page = build([run], read_content([run]), "single-file", title="drawn", beside="")
        file.write_text(page.html)
        opened = show(file, "#/compare")
        links = opened.locator("nav a").all_inner_texts()
        assert ("Side by side" in links) == opened.locator("#compare").is_visible() == (cells > 1)
        opened.goto(f"{file.as_uri()}#/items")
        assert opened.get_by_label("System B").count() == cells - 1
        assert ("B − A" in opened.locator("#items").inner_text()) == (cells > 1)


def test_published_rows_stand_behind_curves_of_their_own_data_only(runs: Path) -> None:
    run = read_finished(runs / "one")
    for dataset, there in (("scenes", False), ("flickr8k", True)):
        charts = prompt_curves(replace(run, protocol=replace(run.protocol, dataset=dataset)))
        assert charts is not None
        assert charts["published"] == there
    alone = run.tables["table2"].filter(pl.col("prompt") != 0)
    assert prompt_curves(replace(run, tables={"table2": alone})) is None


def test_asrs_of_one_label_are_told_apart(runs: Path) -> None:
    tables = runs / "one" / "tables"
    audit = pl.read_parquet(tables / "audit.parquet")
    names = {"openai-whisper tiny.en", "openai-whisper tiny.en, beam 2"}
    assert {*audit["asr"], *audit["other"]} == names
    assert set(pl.read_parquet(runs / "one" / "scores.parquet")["asr"].drop_nulls()) == names
    assert not pl.read_parquet(tables / "sensitivity.parquet").is_empty()


def test_words_are_told_apart_beside_the_nearest_reference() -> None:
    refs = [(0, "two cats sleep"), (3, "A brown dog is rolling.")]
    (difference,) = differences(["so a brown dot is"], [refs])
    assert (difference.reference, difference.edits) == (3, 3)
    assert difference.pieces == (
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
    size = ("--items", "12", "--cells", "2", "--rounds", "1")
    output_of("page", *size, "--save", str(tmp_path / "it.json"))
    figures = json.loads((tmp_path / "it.json").read_text())
    assert {"first paint", "sort", "filter"} <= figures["milliseconds"].keys()
    assert figures["bytes"] > 10_000


def test_pictures_are_taken_of_every_view(single: Path, browser: Browser, tmp_path: Path) -> None:
    output_of("screenshots", str(single), str(tmp_path), "--item", "test_00001")
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
