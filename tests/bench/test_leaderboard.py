"""A leaderboard takes one protocol, keeps what it had, and says what differs."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from bench.cli import main

SCORES = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
SIGNATURE = {
    "data": "flickr8k.test@aa",
    "references": "others",
    "left_out": "rotating",
    "per_image": "4",
    "normaliser": "none",
    "tokeniser": "ptb",
    "metrics": "m",
    "idf": "i",
    "asr": "openai-whisper/small.en@bb",
    "part": "whole",
    "seeds": "0",
    "n": 1000,
}


def _run(runs: Path, name: str, score: float, **changes: object) -> None:
    (runs / name).mkdir(parents=True)
    signature = SIGNATURE | changes
    row = {
        "system": "delay [red]",
        "role": "system",
        "prompt": 0.0,
        "part": "whole",
        "seeds": len(str(signature["seeds"]).split(",")),
        "sampled": True,
        "n": signature["n"],
        "failed": 0,
        "scores": {m: {"score": score, "low": score - 1, "high": score + 1} for m in SCORES},
        "signature": signature,
    }
    floor = row | {"system": "silence", "role": "floor"}
    summary = {"rows": [row, floor]}
    (runs / name / "summary.json").write_text(json.dumps(summary))


def _board(tmp_path: Path, *words: str) -> int:
    board = ["--board", str(tmp_path / "board.jsonl"), "--runs", str(tmp_path / "runs")]
    return main(["leaderboard", *words, *board])


def test_a_board_keeps_history_and_refuses_another_protocol(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _run(tmp_path / "runs", "first", 20.0)
    _run(tmp_path / "runs", "better", 25.0)
    _run(tmp_path / "runs", "other", 99.0, asr="openai-whisper/base.en@cc")
    assert _board(tmp_path, "add", "first") == 0
    before = (tmp_path / "board.jsonl").read_text()
    assert _board(tmp_path, "add", "better") == 0
    assert _board(tmp_path, "add", "better") == 0
    assert (tmp_path / "board.jsonl").read_text().startswith(before)
    assert len((tmp_path / "board.jsonl").read_text().splitlines()) == 2
    capsys.readouterr()
    assert _board(tmp_path, "add", "other") == 2
    error = capsys.readouterr().err
    assert "asr openai-whisper/base.en@cc, the board's is openai-whisper/small.en@bb" in error
    assert len((tmp_path / "board.jsonl").read_text().splitlines()) == 2
    assert _board(tmp_path, "show") == 0
    shown = capsys.readouterr().out
    assert "25.00" in shown
    assert "20.00" not in shown
    assert "delay [red]" in " ".join(shown.split())
    assert "silence" not in shown


def test_a_system_is_ranked_once_with_the_seeds_that_were_declared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _run(tmp_path / "runs", "lucky", 29.0, seeds="7")
    _run(tmp_path / "runs", "pooled", 26.0, seeds="0,1,2,3")
    assert _board(tmp_path, "add", "lucky") == 0
    assert _board(tmp_path, "add", "pooled") == 0
    capsys.readouterr()
    assert _board(tmp_path, "show") == 0
    shown = capsys.readouterr().out
    (row,) = [line for line in shown.splitlines() if "delay [red]" in line]
    assert row.split()[3] == "4"
    assert "29.00" not in shown


def test_a_board_s_page_ranks_links_and_shows_the_chain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], show: Callable[..., Page]
) -> None:
    assert _board(tmp_path, "page") == 2
    _run(tmp_path / "runs", "lucky", 29.0, seeds="7")
    _run(tmp_path / "runs", "pooled", 26.0, seeds="0,1,2,3")
    (tmp_path / "runs" / "pooled" / "report.html").write_text("<title>The run</title>")
    _board(tmp_path, "add", "lucky")
    _board(tmp_path, "add", "pooled")
    capsys.readouterr()
    assert _board(tmp_path, "page") == 0
    assert "2 entries, none changed\n1 run without a page" in capsys.readouterr().out
    file = tmp_path / "board.html"
    for width, scheme in ((1280, "light"), (360, "dark")):
        page = show(file, "", width, scheme)
        ranking, history = page.locator("tbody").all()
        assert ranking.locator("th").all_text_contents() == ["delay [red]"]
        assert history.locator("th").all_text_contents() == ["delay [red]"] * 2
        assert json.loads((tmp_path / "board.jsonl").read_text().splitlines()[-1])["hash"] in (
            page.locator("main").text_content() or ""
        )
        assert Axe().run(page).response["violations"] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_role("link", name="pooled").click()
        assert page.title() == "The run"
    (tmp_path / "board.jsonl").write_text(
        (tmp_path / "board.jsonl").read_text().replace("29", "30")
    )
    assert _board(tmp_path, "page") == 2


def test_a_system_that_failed_throughout_is_no_entry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _run(tmp_path / "runs", "dead", 0.0, n=0)
    assert _board(tmp_path, "add", "dead") == 2
    assert "without a transcript" in capsys.readouterr().err


@pytest.mark.parametrize("columns", ["60", "100", "200"])
def test_a_board_fits(
    columns: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    _run(tmp_path / "runs", "one", 123.45)
    assert _board(tmp_path, "add", "one") == 0
    assert _board(tmp_path, "show") == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    row = next(line for line in lines if line.startswith("1  delay [red]"))
    assert "123.45" in row
    assert len(row) <= int(columns)
    assert ("±" in row) == (columns == "200")


def test_an_interval_is_printed_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    _run(tmp_path / "runs", "one", 200.0)
    path = tmp_path / "runs" / "one" / "summary.json"
    summary = json.loads(path.read_text())
    summary["rows"][0]["scores"]["CIDEr"] = {"score": 50.0, "low": 33.3, "high": 333.3}
    path.write_text(json.dumps(summary))
    assert _board(tmp_path, "add", "one") == 0
    assert _board(tmp_path, "show") == 0
    shown = capsys.readouterr().out
    assert "50.00[33.3, 333.3]" in shown
    assert "200.00±1.0" in shown


def _two(tmp_path: Path) -> Path:
    _run(tmp_path / "runs", "first", 20.0)
    _run(tmp_path / "runs", "better", 25.0)
    assert _board(tmp_path, "add", "first") == 0
    assert _board(tmp_path, "add", "better") == 0
    assert _board(tmp_path, "verify") == 0
    return tmp_path / "board.jsonl"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text.replace('"score":20.0', '"score":99.0'), ":1: changed since"),
        (lambda text: text.replace('"failed":0', '"failed":9,"failed":0', 1), ":1: changed since"),
        (lambda text: text.split("\n", 1)[1], ":1: does not follow"),
        (lambda text: "".join(reversed(text.splitlines(True))), ":1: does not follow"),
        (lambda text: text + text.splitlines(True)[1], ":3: does not follow"),
        (lambda text: text[:-9], ":2: not an entry"),
        (lambda text: "\ufeff" + text, ":1: changed since"),
        (lambda text: text.replace("\n", "\n\n", 1), ":2: not an entry"),
    ],
)
def test_a_board_that_was_changed_is_refused_by_its_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[str], str],
    message: str,
) -> None:
    board = _two(tmp_path)
    board.write_text(spoil(board.read_text()))
    before = board.read_bytes()
    _run(tmp_path / "runs", "third", 30.0)
    capsys.readouterr()
    for words, code in ((["verify"], 3), (["show"], 2), (["add", "third"], 2)):
        assert _board(tmp_path, *words) == code
        said = capsys.readouterr()
        assert f"{board}{message}" in said.out + said.err
    assert board.read_bytes() == before


def test_a_board_without_a_final_newline_is_added_to(tmp_path: Path) -> None:
    board = _two(tmp_path)
    board.write_text(board.read_text()[:-1])
    _run(tmp_path / "runs", "third", 30.0)
    assert _board(tmp_path, "add", "third") == 0
    assert _board(tmp_path, "verify") == 0
    assert len(board.read_text().splitlines()) == 3


def test_many_add_at_once_and_none_is_lost(tmp_path: Path) -> None:
    for number in range(4):
        _run(tmp_path / "runs", f"r{number}", float(number))
    # The lock is the open folder's, so it keeps threads apart as it does processes.
    with ThreadPoolExecutor(4) as pool:
        added = pool.map(lambda number: _board(tmp_path, "add", f"r{number}"), range(4))
        assert list(added) == [0] * 4
    assert _board(tmp_path, "verify") == 0
    assert len((tmp_path / "board.jsonl").read_text().splitlines()) == 4


def test_a_damaged_summary_adds_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run(tmp_path / "runs", "first", float("nan"))
    assert _board(tmp_path, "add", "first") == 2
    assert "summary.json: damaged" in capsys.readouterr().err
    assert not (tmp_path / "board.jsonl").exists()
