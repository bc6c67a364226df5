"""The page that people open: driven in a browser as they do, from a file, with the network off."""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from pages import ITEMS, LABEL, VIEWS, Opened
from playwright.sync_api import Page, expect

from bench.report.page.words import visible
from bench.tables.audit import UNALIKE, disagreement

pytestmark = pytest.mark.slow


def _content(page: Page) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(page.locator("#data").text_content() or "")
    return data


def _rows(runs: Path, cell: int, name: str = "one") -> pl.DataFrame:
    """A cell's rows as the run's own file has them, in the dataset's order."""
    cells = json.loads((runs / name / "summary.json").read_text())["cells"]
    rows = pl.read_parquet(runs / name / "rows.parquet")
    return rows.filter(pl.col("cell") == cells[cell]["cell"])


def _shown(page: Page, within: str = "#items li") -> list[str]:
    # What was chosen changes the address, and the page follows it in a task of its own.
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    names: list[str] = page.locator(within).evaluate_all("all => all.map(a => a.dataset.item)")
    return names


def _number(page: Page, start: str) -> int:
    """The number of the first cell whose label starts like this."""
    labels = [cell["label"] for cell in _content(page)["cells"]]
    return next(n for n, label in enumerate(labels) if label.startswith(start))


def _playing(page: Page) -> None:
    """Waits until the player's time has moved."""
    page.evaluate(
        """() => new Promise((done) => {
            const player = document.getElementById("player");
            const look = () => player.currentTime > 0.05 ? done()
                : player.addEventListener("timeupdate", look, { once: true });
            look();
        })"""
    )


def _titled(page: Page, name: str) -> None:
    expect(page.locator("#item h1")).to_have_text(name)


def test_the_overview_says_what_the_tables_say(runs: Path, single: Path, show: Opened) -> None:
    page = show(single)
    frame = pl.read_parquet(runs / "one" / "tables" / "table1.parquet")
    rows = page.locator("#overview .scroll").first.locator("tbody tr:not(.block)")
    assert rows.count() == frame.height
    shown = [row.locator("th").inner_text() for row in rows.all()]
    shown = [name.split("\n")[0] for name in shown]
    assert shown == frame["system"].to_list()
    delay = rows.nth(shown.index("delay"))
    score = frame.filter(system="delay")["C"].item()
    assert f"{score:.2f}" in delay.inner_text()
    # A grade says why, on hover and on focus.
    grade = page.locator(".published .tip").first
    grade.hover()
    assert "those of flickr8k, not of scenes" in page.locator("#tip").inner_text()
    page.mouse.move(0, 0)
    grade.focus()
    assert page.locator("#tip").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#tip").is_visible()
    assert page.locator("figure svg.chart").count() > 5


def test_the_command_on_the_page_makes_the_same_run(
    runs: Path, single: Path, show: Opened, tmp_path: Path
) -> None:
    from bench.common.jobfile import JobFile
    from bench.execution.prepare import resolve_job

    text = show(single).locator("#again-1").text_content() or ""
    lines = text.splitlines()
    assert lines[0] == "cat > one.yaml <<'JOB'"
    assert lines[2:] == ["JOB", "pixvox run one.yaml"]
    (tmp_path / "one.yaml").write_text(lines[1])
    planned = resolve_job(JobFile(tmp_path / "one.yaml"), runs)
    manifest = json.loads((runs / "one" / "run.json").read_text())
    keys = [cell["transcript_key"] for cell in manifest["cells"]]
    assert [cell.transcript_key for cell in planned.cells] == keys


def test_speech_is_heard(runs: Path, single: Path, show: Opened) -> None:
    cells = json.loads((runs / "one" / "summary.json").read_text())["cells"]
    slug = cells[1]["cell"][:-9]
    page = show(single, "#/item/test_00001")
    card = page.locator(".system").nth(1)
    card.locator(".play").click()
    _playing(page)
    assert "Pause" in (card.locator(".play").get_attribute("aria-label") or "")
    stored = soundfile.info(runs / "one" / "speech" / slug / "test_00001.wav").duration
    heard = page.evaluate("document.getElementById('player').duration")
    assert heard == pytest.approx(stored, abs=0.1)
    image = page.locator("#item img")
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 50
    assert image.get_attribute("alt")


def test_every_sort_is_the_rows_own(runs: Path, single: Path, show: Opened) -> None:
    page = show(single, "#/items")
    a, b = _number(page, visible(LABEL)), _number(page, "delay")
    metrics = [metric["name"] for metric in _content(page)["metrics"]]
    joined = _rows(runs, a).with_row_index().join(_rows(runs, b), on="item", suffix="_b")
    for metric in metrics:
        values = {
            "a": pl.col(metric).round(3),
            "b": pl.col(f"{metric}_b").round(3),
            "diff": pl.col(f"{metric}_b").round(3) - pl.col(metric).round(3),
        }
        for name, value in values.items():
            for down in (False, True):
                query = f"?a={a}&b={b}&m={metric}&sort={name}{'&desc=1' if down else ''}"
                page.evaluate("at => { location.hash = at }", f"#/items{query}")
                wanted = joined.with_columns(by=value.round(6)).sort(
                    "by", "index", descending=[down, False]
                )
                assert _shown(page) == wanted["item"].to_list(), query


def test_every_filter_is_the_rows_own(runs: Path, single: Path, show: Opened) -> None:
    page = show(single, "#/items")
    content = _content(page)
    a, b = _number(page, visible(LABEL)), _number(page, "delay")
    rows, other = _rows(runs, a), _rows(runs, b)
    page.get_by_label("System A").select_option(str(a))
    page.get_by_label("System B").select_option(str(b))

    def left(wanted: pl.DataFrame) -> None:
        assert _shown(page) == wanted["item"].to_list()
        assert f"{wanted.height} of {ITEMS} items" in page.locator("#items .count").inner_text()

    for kind in ("looping", "no end of speech", "any", "none"):
        page.get_by_label("A fails as").select_option(kind)
        kinds = [kind["name"] for kind in content["kinds"]]
        failed = pl.any_horizontal(kinds)
        left(rows.filter({"any": failed, "none": ~failed}.get(kind, pl.col(kind))))
    page.get_by_label("A fails as").select_option("")
    lead = content["lead"]
    middle = rows[lead].sort()[ITEMS // 2]
    page.get_by_label("A from").fill(f"{middle:.3f}")
    left(rows.filter(pl.col(lead).round(3) >= round(middle, 3)))
    page.get_by_label("A up to").fill(f"{middle + 50:.3f}")
    left(rows.filter(pl.col(lead).round(3).is_between(round(middle, 3), round(middle + 50, 3))))
    page.get_by_role("button", name="Reset").click()
    page.get_by_label("System A").select_option(str(a))
    page.get_by_label("System B").select_option(str(b))
    page.get_by_label("only A is wrong").check()
    page.get_by_label("wrong is below").fill("100")
    pairs = rows.join(other, on="item", suffix="_b")
    only = pairs.filter((pl.col(lead) < 100) & (pl.col(f"{lead}_b") >= 100))
    assert only.height
    left(only)
    page.get_by_label("only A is wrong").uncheck()
    page.get_by_label("ASRs disagree").check()
    cells = json.loads((runs / "one" / "summary.json").read_text())["cells"]
    speech = [cell["cell"][:-9] for cell in cells]
    beside = next(n for n, name in enumerate(speech) if name == speech[a] and n != a)
    heard = rows.join(_rows(runs, beside), on="item", suffix="_b")
    apart = [disagreement(x, y) > UNALIKE for x, y in heard.select("tokens", "tokens_b").rows()]
    assert sum(apart) == 1
    left(rows.filter(pl.Series(apart)))
    page.get_by_label("ASRs disagree").uncheck()
    page.get_by_label("Search text").fill("basketball")
    said = pl.read_parquet(runs / "one" / "rows.parquet").filter(
        pl.col("transcript").str.to_lowercase().str.contains("basketball")
    )["item"]
    named = [item["id"] for item in content["items"] if "basketball" in " ".join(item["captions"])]
    left(rows.filter(pl.col("item").is_in([*said, *named])))


def test_two_runs_stand_side_by_side(runs: Path, both: Path, show: Opened) -> None:
    page = show(both, "#/compare")
    assert not page.locator("script[id^=m-]").count()
    a, b = _number(page, "delay"), None
    cells = _content(page)["cells"]
    b = next(n for n, cell in enumerate(cells) if cell["run"] == 1 and cell["system"] == "delay")
    offset = sum(cell["run"] == 0 for cell in cells)
    page.get_by_label("Baseline A").select_option(str(a))
    page.get_by_label("Other B").select_option(str(b))
    lead = _content(page)["lead"]
    pairs = (
        _rows(runs, a)
        .with_row_index()
        .join(_rows(runs, b - offset, "two"), on="item", suffix="_b")
        .with_columns(change=(pl.col(f"{lead}_b").round(3) - pl.col(lead).round(3)).round(6))
    )
    rows = "#compare tbody tr"
    largest = pairs.sort(pl.col("change").abs(), "index", descending=[True, False])
    assert _shown(page, rows) == largest["item"].to_list()
    page.get_by_label("First come").select_option("worst")
    assert _shown(page, rows) == pairs.sort("change", "index")["item"].to_list()
    page.get_by_label("changed only").check()
    changed = pairs.filter(pl.col("transcript") != pl.col("transcript_b")).sort("change", "index")
    assert 0 < changed.height < ITEMS
    assert _shown(page, rows) == changed["item"].to_list()
    better = f"{(pairs['change'] > 0).sum()}"
    assert better in page.locator(".tiles div", has_text="items better").inner_text()
    # One key plays A and then B, whose speech comes from a piece of the folder.
    page.keyboard.press("Escape")
    page.locator("h1:visible").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    _playing(page)
    player = page.locator("#player")
    player.evaluate("player => { player.playbackRate = 8 }")
    second = page.locator("#compare tbody tr").first.locator(".play").nth(1)
    expect(second).to_have_attribute("aria-label", re.compile("^Pause"))
    _playing(page)


def test_the_keyboard_alone_goes_everywhere(single: Path, show: Opened) -> None:
    page = show(single)
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Items":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("#items li")
    page.keyboard.press("/")
    page.keyboard.type("test_0000")
    assert len(_shown(page)) == ITEMS
    page.keyboard.press("Tab")
    page.locator("h1:visible").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    _playing(page)
    page.keyboard.press("Enter")
    page.wait_for_selector("#item .system")
    assert page.locator("#item h1").inner_text() == "test_00001"
    page.keyboard.press("ArrowRight")
    _titled(page, "test_00002")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press(" ")
    _playing(page)
    page.keyboard.press("ArrowLeft")
    _titled(page, "test_00001")
    page.keyboard.press("Escape")
    page.wait_for_selector("#items li")


def test_an_address_leads_to_the_same_place_and_back(single: Path, show: Opened) -> None:
    page = show(single, "#/items?q=test_0000&sort=a&desc=1")
    before = _shown(page)
    page.locator("#items .open").nth(2).click()
    page.wait_for_selector("#item .system")
    assert page.locator("#item h1").inner_text() == before[2]
    page.get_by_label("Views").get_by_text("Side by side").click()
    page.wait_for_selector("#compare tbody tr")
    page.go_back()
    assert page.locator("#item h1").inner_text() == before[2]
    page.go_back()
    assert _shown(page) == before
    assert page.get_by_label("Search text").input_value() == "test_0000"
    unknown = show(single, "#/item/no%2Fsuch%3Citem%3E")
    assert "no item no/such<item>" in unknown.locator("#item").inner_text()


def test_every_table_is_sorted_and_downloaded(runs: Path, single: Path, show: Opened) -> None:
    page = show(single)
    frame = pl.read_parquet(runs / "one" / "tables" / "table1.parquet")
    table = page.locator("#overview table").first
    measured = table.locator("tbody").nth(1).locator("tr:not(.block) > th")

    def order() -> list[str]:
        return [name.split("\n")[0] for name in measured.all_inner_texts()]

    own = frame.filter(block="measured")
    button = table.locator(".sort").get_by_text("B1", exact=True)
    for descending in (True, False, None):
        button.click()
        wanted = own if descending is None else own.sort("B1", descending=descending)
        assert order() == wanted["system"].to_list()
    expect(page.locator("#said")).to_have_text("In the table's own order.")
    # What has no score stays last, and the two blocks stay apart.
    table.locator(".sort").get_by_text("WER", exact=True).press("Enter")
    assert set(order()[:2]) == {"recorded speech", "resynthesis"}
    assert table.locator("[aria-sort='descending']").inner_text().startswith("WER")
    assert table.locator("tbody").first.locator("tr").first.inner_text() == "published, on flickr8k"
    downloads = page.locator("[data-csv]")
    assert downloads.count() == page.locator("#overview table").count() == 6
    for number, name in enumerate(("table1", "table2", "audit", "audit-tests")):
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        with page.expect_download() as download:
            downloads.nth(number).click()
        assert download.value.suggested_filename == f"one-{name}.csv"
        # The same bytes as the run's own file.
        assert download.value.path().read_bytes() == (
            (runs / "one" / "tables" / f"{name}.csv").read_bytes()
        )


def test_names_stay_and_scores_are_seen_at_any_width(single: Path, show: Opened) -> None:
    page = show(single, "", 390)
    scroll = page.locator("#overview .scroll").first
    name, score = (scroll.locator("tr:not(.block)").nth(5).locator(tag) for tag in ("th", "td"))
    box = scroll.bounding_box()
    assert box is not None

    def left(shown: Any) -> tuple[float, float]:
        bounds = shown.bounding_box()
        assert bounds is not None
        return bounds["x"] - box["x"], bounds["x"] + bounds["width"] - box["x"]

    # Two scores beside the name, without a swipe.
    assert left(score.nth(3))[1] <= box["width"]
    scroll.evaluate("one => one.scrollBy({ left: 300, behavior: 'instant' })")
    assert left(name)[0] == pytest.approx(0, abs=2)
    assert left(name)[1] < box["width"] / 2
    wide = show(single, "", 1280)
    wide.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    cut = wide.locator("#overview .scroll").evaluate_all(
        "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).length"
    )
    assert cut == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(single: Path, show: Opened, scheme: str) -> None:
    for width in (390, 1280):
        page = show(single, "", width, scheme)
        for place in VIEWS:
            page.goto(f"{single.as_uri()}{place}")
            page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            violations = Axe().run(page).response["violations"]
            said = [
                (violation["id"], violation["nodes"][0]["html"][:120]) for violation in violations
            ]
            assert said == [], (place, width)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, place
