"""The page for people who see it enlarged or not at all: focus, words that are said, and keys."""

import re
from pathlib import Path
from urllib.parse import parse_qs

import polars as pl
import pytest
from pages import VIEWS, Opened
from playwright.sync_api import Locator, Page, expect

pytestmark = pytest.mark.slow


def _state(page: Page) -> dict[str, list[str]]:
    return parse_qs(page.evaluate("location.hash.split('?')[1] || ''"))


def _in_turn(page: Page) -> None:
    # What was chosen changes the address, and the page follows it in a task of its own.
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")


def _paused(page: Page, paused: bool) -> None:
    page.wait_for_function(
        "paused => document.querySelector('audio').paused === paused", arg=paused
    )


def _marked(page: Page) -> Locator:
    return page.locator("#item .system.on")


def test_controls_keep_all_else_and_say_what_is_left(single: Path, show: Opened) -> None:
    page = show(single, "#/items")
    said, search = page.locator("#said"), page.get_by_label("Search text")
    order = page.locator("[name=desc]")
    search.fill("test_0000")
    page.get_by_label("Sort by").select_option("a")
    order.select_option("1")
    _in_turn(page)
    assert _state(page) == {"q": ["test_0000"], "sort": ["a"], "desc": ["1"]}
    expect(said).to_have_text(re.compile("^8 of 8 items, sorted by A's .+, highest first;"))
    page.get_by_label("A up to").fill("1000")
    order.select_option("0")
    _in_turn(page)
    assert _state(page) == {"q": ["test_0000"], "sort": ["a"], "max": ["1000"]}
    assert [search.input_value(), page.get_by_label("A up to").input_value()] == [
        "test_0000",
        "1000",
    ]
    page.get_by_role("button", name="Reset").press("Enter")
    expect(said).to_have_text(re.compile("^8 of 8 items, in the dataset's order;"))
    expect(page.get_by_role("button", name="Reset")).to_be_focused()
    search.fill("no such words")
    page.get_by_role("link", name="Show all items").press("Enter")
    expect(page.locator("h1:visible")).to_be_focused()
    page.goto(f"{single.as_uri()}#/compare")
    search.fill("test_0000")
    page.get_by_label("changed only").check()
    page.get_by_label("First come").select_option("worst")
    _in_turn(page)
    assert _state(page) == {"q": ["test_0000"], "changed": ["1"], "by": ["worst"]}
    assert search.input_value() == "test_0000"
    expect(said).to_have_text(re.compile("^[1-8] of 8 items, worst regressions first$"))


def test_who_comes_back_from_an_item_is_where_they_were(single: Path, show: Opened) -> None:
    page = show(single, "#/items")
    rows = page.locator("#items .open")
    rows.nth(5).press("Enter")
    expect(page.locator("#item h1")).to_be_focused()
    page.keyboard.press("Escape")
    expect(rows.nth(5)).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(rows.nth(6)).to_be_focused()


def test_keys_act_on_the_system_that_is_marked(single: Path, show: Opened) -> None:
    page = show(single, "#/item/test_00001")
    cards = page.locator("#item .system")
    cards.nth(2).locator(".play").focus()
    expect(_marked(page)).to_have_attribute(
        "aria-label", cards.nth(2).get_attribute("aria-label") or ""
    )
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    # The first says a text: it has no speech, and no other's is played in its place.
    expect(cards.first).to_be_focused()
    page.keyboard.press(" ")
    expect(page.locator("#said")).to_have_text("A text: there is nothing to listen to.")
    assert page.locator("audio").get_attribute("src") is None
    slider = cards.nth(1).get_by_label("Position in")
    slider.focus()
    page.keyboard.press("ArrowRight")
    _paused(page, False)
    assert page.evaluate("document.querySelector('audio').currentTime") >= 0.5
    expect(_marked(page)).to_have_attribute(
        "aria-label", cards.nth(1).get_attribute("aria-label") or ""
    )
    page.keyboard.press(" ")
    _paused(page, True)


def test_the_key_that_plays_stops_too(single: Path, both: Path, show: Opened) -> None:
    page = show(single, "#/items?b=0")
    page.locator("#items .open").first.focus()
    for paused in (False, True, False):
        page.keyboard.press(" ")
        _paused(page, paused)
    page.keyboard.press("b")
    expect(page.locator("#said")).to_have_text("A text: there is nothing to listen to.")
    page = show(both, "#/compare")
    page.locator("#compare tbody a").first.focus()
    play = page.locator("#compare .play").first
    for name in ("Pause", "Play"):
        page.keyboard.press(" ")
        expect(play).to_have_attribute("aria-label", re.compile(f"^{name} "))


def test_a_vote_is_meant_and_can_be_taken_back(single: Path, show: Opened) -> None:
    page = show(single, "#/listen?a=3&b=5")
    page.evaluate("document.querySelector('audio').defaultPlaybackRate = 16")
    page.locator("[name=rater]").fill("1")
    page.keyboard.press("Enter")
    place, question = page.locator("#listen .count"), page.locator("#question")
    first = page.locator("#listen img").get_attribute("src")
    for undone in (False, True):
        page.keyboard.press(" ")
        expect(page.locator("#said")).to_have_text("You can answer now.", timeout=30_000)
        page.keyboard.press("ArrowDown")
        expect(place).to_have_text("Pair 1 of 10")
        page.keyboard.press("0")
        expect(place).to_have_text("Pair 2 of 10")
        expect(question).to_have_accessible_description("Pair 2 of 10")
        if not undone:
            page.get_by_role("button", name="Change the last answer").press("Enter")
            expect(question).to_have_accessible_description("Pair 1 of 10")
            expect(page.locator("#listen img")).to_have_attribute("src", first or "")
    stored = page.evaluate("Object.values(localStorage)")
    assert '["tie"]' in stored


def test_a_table_is_two_stops_and_its_tips_stay(single: Path, show: Opened) -> None:
    page = show(single)
    table, tip = page.locator("#overview table").first, page.locator("#tip")
    tips = table.locator(".tip")
    assert tips.count() > 3
    for kind in (".tip", ".sort"):
        assert table.locator(f"{kind}[tabindex='0']").count() == 1
    table.locator(".sort").first.focus()
    page.keyboard.press("ArrowRight")
    expect(table.locator(".sort").nth(1)).to_be_focused()
    tips.first.focus()
    page.keyboard.press("ArrowRight")
    expect(tips.nth(1)).to_be_focused()
    expect(tip).to_have_text(tips.nth(1).get_attribute("data-tip") or "")
    page.evaluate("scrollBy({ top: 40, behavior: 'instant' })")
    _in_turn(page)
    expect(tip).to_be_visible()
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()
    # The pointer may go onto a tip, and over nothing else on its way.
    tips.nth(2).hover()
    tip.hover()
    expect(tip).to_have_text(tips.nth(2).get_attribute("data-tip") or "")


def test_charts_can_be_read(runs: Path, single: Path, show: Opened) -> None:
    page = show(single)
    shown = page.locator("figure details").first
    drawn = shown.locator("xpath=..").locator("svg text").all_text_contents()
    assert shown.locator("dt, dd").all_text_contents() == drawn
    table = pl.read_parquet(runs / "one" / "tables" / "table2.parquet")
    score = table.filter(system="delay", prompt=0.5)["C"].item()
    curve = page.get_by_role("img", name=re.compile("^C by prompt share"))
    assert f"{score:.2f} at 50%" in (curve.get_attribute("aria-label") or "")


def test_four_times_enlarged_nothing_is_covered_or_unnamed(single: Path, show: Opened) -> None:
    page = show(single, "", 320)
    assert page.locator(".top").evaluate("top => getComputedStyle(top).position") == "static"
    for place in VIEWS:
        page.goto(f"{single.as_uri()}{place}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, place
    page.goto(f"{single.as_uri()}#/compare")
    named = (
        page.locator("#compare tbody tr")
        .first.locator("td")
        .evaluate_all("all => all.map(one => getComputedStyle(one, '::before').content)")
    )
    assert [name.strip('"')[:1] for name in named] == ["A", "C", "B", "C", "B"]
    # Forced colours show borders that are transparent otherwise: only one view is the current.
    page.emulate_media(forced_colors="active")
    lines = page.locator("nav a").evaluate_all(
        "all => all.map(one => getComputedStyle(one).borderBottomColor)"
    )
    assert lines[0] == lines[1] == lines[3] != lines[2]
