"""Listening tests: a whole one in a browser by keyboard, and the scores of its answers."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from bench.cli import main
from bench.listening.answers import Answers, code_of, hashed
from bench.listening.power import findable, pairs_needed, raters_needed, ratings_needed
from bench.listening.score import score

pytestmark = pytest.mark.slow

Opened = Callable[..., Page]


def _content(
    rater: str, pairs: list[tuple[str, str]], ratings: dict[str, list[int]]
) -> dict[str, Any]:
    """Answers of a rater: pairs of an item and an answer, ratings by condition, item by item."""
    answered: list[dict[str, Any]] = [
        {"item": item, "first": "a", "second": "b", "answer": answer} for item, answer in pairs
    ]
    answered.append({"item": "0", "first": "anchor", "second": "reference", "answer": "reference"})
    rated = [
        {"item": str(n), "of": of, "rating": value}
        for of, values in ratings.items()
        for n, value in enumerate(values)
    ]
    body: dict[str, Any] = {"format": "pixvox-listening-1", "page": "p", "rater": rater}
    body |= {"a": {"cell": "x", "label": "A"}, "b": {"cell": "y", "label": "B"}}
    body |= {"pairs": answered, "ratings": rated}
    return body | {"code": code_of(body)}


def _answers(*content: Any) -> Answers:
    return Answers.model_validate_json(json.dumps(_content(*content)))


def test_the_code_s_hash_is_fnv() -> None:
    # Test vectors of draft-eastlake-fnv, 32 bits.
    assert [hashed(text) for text in ("", "a", "foobar")] == [0x811C9DC5, 0xE40C292C, 0xBF9CF968]


def test_preferences_ratings_and_agreement_are_counted() -> None:
    pairs = [(str(n), "b" if n < 6 else "a" if n < 8 else "tie") for n in range(10)]
    ratings = {"a": [2, 3, 2, 3], "b": [4, 4, 3, 5], "anchor": [1, 1, 1, 2]}
    raters = [_answers(str(rater), pairs, ratings) for rater in range(3)]
    result = score(raters)
    assert result.preference.value == pytest.approx(0.7)
    assert (result.pairs, result.ties, result.raters) == (30, 6, 3)
    assert {of: estimate.value for of, estimate in result.ratings.items()} == {
        "a": 2.5,
        "b": 4,
        "anchor": 1.25,
    }
    assert result.difference.value == 1.5
    assert result.preference.low < 0.7 < result.preference.high
    # Raters who answer alike agree wholly, and tell no more than one does.
    assert result.agreement == {"pairs": 1.0, "ratings": 1.0}
    assert score(raters[:1]).preference.findable == pytest.approx(
        result.preference.findable, rel=0.1
    )
    assert math.isnan(score(raters[:1]).agreement["pairs"])
    asleep = raters[0].pairs[-1].model_copy(update={"answer": "anchor"})
    other = raters[0].model_copy(update={"rater": "9", "pairs": (*raters[0].pairs[:-1], asleep)})
    assert score([*raters, other]).inattentive == ("9",)
    assert replace(score([*raters, other]), inattentive=()) == result
    with pytest.raises(ValueError, match="no rater answered"):
        score([other])


def test_intervals_cover_the_true_value() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(60):
        liking, shown = rng.normal(0, 0.5, 8), rng.normal(0, 0.5, 12)
        chance = 1 / (1 + np.exp(-(0.4 + liking[:, None] + shown)))
        said = rng.random((8, 12)) < chance
        raters = [
            _answers(str(r), [(str(n), "b" if yes else "a") for n, yes in enumerate(row)], {})
            for r, row in enumerate(said)
        ]
        preference = score(raters).preference
        wide = rng.normal(0, 0.5, (2, 200_000))
        truth = float((1 / (1 + np.exp(-(0.4 + wide.sum(0))))).mean())
        held += preference.low <= truth <= preference.high
    assert held >= 52


def test_sample_sizes_equal_published_ones() -> None:
    # Fleiss, Levin & Paik: 0.5 against 0.6, two-sided 5%, power 80%: 194 without the correction.
    assert pairs_needed(0.6, 0.8) == pairs_needed(0.4, 0.8) == 194
    assert ratings_needed(0.5, 1.0, 0.8) == 32
    assert raters_needed(194, 12, 0.0) == 17
    assert raters_needed(194, 12, 1.0) == 194
    assert findable(1 / math.sqrt(32), 0.8) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rater": "somebody else"}, "was changed after the test"),
        (
            {"ratings": [{"item": "0", "of": "a", "rating": 9}]},
            "ratings[0].rating: must be at most 5",
        ),
        ({"format": "other"}, "format: 'other' is not known"),
        ({"page": "q"}, "answers of another test"),
    ],
)
def test_files_that_cannot_be_scored_give_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], reason: str
) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    content = _content("1", [("0", "a")], {})
    good.write_text(json.dumps(content))
    changed = _content("2", [("0", "a")], {}) | change
    if "page" in change:
        changed["code"] = code_of(changed)
    bad.write_text(json.dumps(changed))
    assert main(["listen", "score", str(good), str(bad)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"pixvox: {bad}: ")
    assert reason in error
    assert error.count("\n") == 1


def _hear(page: Page) -> None:
    """Plays all that there is to hear by the keyboard, until it may be answered."""
    page.keyboard.press("Space")
    expect(page.locator("#listen .answers button").first).to_be_enabled(timeout=30_000)


def test_a_whole_test_by_keyboard_alone(
    single: Path,
    runs: Path,
    show: Opened,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = show(single, "#/listen?a=3&b=5")
    page.evaluate("document.getElementById('player').playbackRate = 16")
    page.evaluate("document.getElementById('player').defaultPlaybackRate = 16")
    page.keyboard.press("Tab")
    page.locator("[name=rater]").focus()
    page.keyboard.type("1")
    page.keyboard.press("Enter")
    # Nothing that a rater could look at says whose speech it is.
    shown = page.locator("#listen").inner_html()
    labels = [
        cell["label"] for cell in json.loads(page.locator("#data").text_content() or "")["cells"]
    ]
    assert not any(label in shown for label in labels)
    expect(page.locator("#listen .count")).to_have_text("Pair 1 of 10")
    expect(page.locator("nav")).to_be_hidden()
    assert Axe().run(page).response["violations"] == []
    page.keyboard.press("ArrowRight")
    expect(page.locator("#said")).to_have_text("Listen to it first.")
    for _ in range(4):
        _hear(page)
        page.keyboard.press("ArrowRight")
    expect(page.locator("#listen .count")).to_have_text("Pair 5 of 10")
    page.reload()
    page.evaluate("document.getElementById('player').defaultPlaybackRate = 16")
    page.locator("[name=rater]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#listen .count")).to_have_text("Pair 5 of 10")
    for _ in range(6):
        _hear(page)
        page.keyboard.press("ArrowLeft")
    ratings = page.locator("#listen .count")
    while "Rating" in (ratings.text_content() if ratings.count() else ""):
        _hear(page)
        page.keyboard.press("4")
    expect(page.locator("nav")).to_be_visible()
    assert Axe().run(page).response["violations"] == []
    page.locator("#answers").focus()
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    file = tmp_path / "answers.json"
    download.value.save_as(file)
    content = json.loads(file.read_text())
    assert content["code"] == code_of(content) == page.locator("#code").text_content()
    pairs = [pair for pair in content["pairs"] if "anchor" not in (pair["first"], pair["second"])]
    assert len(pairs) == 8
    assert sum(pair["first"] == "a" for pair in pairs) == 4
    assert {pair["item"] for pair in pairs} == {f"test_{n:05d}" for n in range(8)}
    # Whoever listens hears which speech is of another picture; the keys above were pressed blindly.
    for pair in content["pairs"]:
        if "anchor" in (pair["first"], pair["second"]):
            pair["answer"] = pair["first"] if pair["second"] == "anchor" else pair["second"]
    file.write_text(json.dumps(content | {"code": code_of(content)}))
    asked = ["listen", "score", str(file), "--run", "one", "--runs", str(runs)]
    assert main([*asked, "--save", str(tmp_path / "said.json")]) == 0
    output = capsys.readouterr().out
    assert all(text in output for text in ("hidden", "BLEU-4", "4.00", "preferred to"))
    said = json.loads((tmp_path / "said.json").read_text())
    assert said["raters"] == 1
    scores = json.loads((runs / "one" / "summary.json").read_text())["cells"][5]["scores"]
    assert said["automatic"]["b"]["CIDEr"] == scores["CIDEr"]["score"]
