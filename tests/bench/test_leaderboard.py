"""A leaderboard takes one protocol, keeps what it had, and says what differs."""

import json
from pathlib import Path

import pytest

from bench.cli import main

SCORES = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
SIGNATURE = {
    "data": "flickr8k.test@aa",
    "references": "all",
    "normaliser": "none",
    "tokeniser": "ptb",
    "metrics": "m",
    "idf": "i",
    "asr": "openai-whisper/small.en@bb",
    "hear": "whole",
    "seeds": "0",
    "n": 1000,
}


def _run(runs: Path, name: str, score: float, **changes: object) -> None:
    (runs / name).mkdir(parents=True)
    cell = {
        "system": "delay [red]",
        "role": "system",
        "prompt": 0.0,
        "asr": "whisper",
        "hear": "whole",
        "failed": 0,
        "scores": {m: {"score": score, "low": score - 1, "high": score + 1} for m in SCORES},
        "signature": SIGNATURE | changes,
    }
    floor = cell | {"system": "silence", "role": "floor"}
    summary = {"protocol": {"asr_label": "whisper"}, "cells": [cell, floor]}
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


def test_a_system_that_failed_throughout_is_no_entry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _run(tmp_path / "runs", "dead", 0.0, n=0)
    assert _board(tmp_path, "add", "dead") == 2
    assert "failed throughout" in capsys.readouterr().err


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
