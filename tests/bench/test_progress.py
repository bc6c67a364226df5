"""What progress lines say of pace and time left."""

import datetime
from dataclasses import replace
from pathlib import Path

import pytest

from bench.asr.whisper import WhisperAsr
from bench.common.progress import pace, progress
from bench.execution.rates import keep_rate, pace_of, read_rates
from bench.jobs.cells import Cell
from bench.systems.pixvox import PixVoxSystem
from bench.systems.recorded import RecordedSystem


@pytest.mark.parametrize(
    ("done", "seconds", "left", "said"),
    [
        (0, 5.0, 100, ""),
        (10, 0.0, 100, ""),
        (200, 10.0, 1000, ", 20/s, about 50 s left"),
        (5, 10.0, 1000, ", 2 s each, about 33 min left"),
        (1000, 1000.0, 7200, ", 1/s, about 2.0 h left"),
        (10, 4.0, 0, ", 2.5/s"),
    ],
)
def test_pace(done: int, seconds: float, left: int, said: str) -> None:
    assert pace(done, seconds, left) == said


def test_lines_tell_the_pace_of_now_and_of_this_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    with progress() as report:
        report("units train", 0, 10_000)
        for second in range(1, 200):
            now = float(second)
            # A thousand are read again within the first second.
            report("units train", 1000 + second, 10_000)
        for second in range(200, 220):
            now = float(second)
            report("units val", 2 * (second - 199), 100)
    lines = capsys.readouterr().err.splitlines()
    assert lines[8].endswith("1080/10000, 1/s, about 2.5 h left")
    assert lines[-1].endswith("units val: 22/100, 2/s, about 39 s left")


def test_a_prediction_says_from_which_run_its_pace_is(tmp_path: Path) -> None:
    system = RecordedSystem(kind="recorded")
    whole, short = (
        Cell("recorded", system, "", 0.0, asr, "whole", "s", "t")
        for asr in (WhisperAsr(), WhisperAsr(window="adaptive"))
    )
    keep_rate(tmp_path, "few", [whole], 49, 1.0)
    keep_rate(tmp_path, "mixed", [whole, short], 100, 1.0)
    assert read_rates(tmp_path) == {}
    keep_rate(tmp_path, "slow", [whole], 100, 200.0)
    keep_rate(tmp_path, "quick", [short], 100, 50.0)
    rates = read_rates(tmp_path)
    assert {name: rate.seconds for name, rate in rates.items()} == {
        "openai-whisper tiny.en": 2.0,
        "openai-whisper tiny.en, adaptive window": 0.5,
    }
    decoding = {"temperature": 0.3, "candidates": 16}
    speaker = {"kind": "pixvox", "label": "Delay", "weights": "zoo:pixvox-tiny-delay"}
    drawn = PixVoxSystem.model_validate(speaker | {"decoding": decoding})
    sixteen = replace(whole, system=drawn)
    assert pace_of(sixteen) == "openai-whisper tiny.en, best of 16"
    said = rates["openai-whisper tiny.en"].words
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    assert said.startswith(f"at the pace of run slow, {today} (")
    (tmp_path / "rates.json").write_text('{"openai-whisper tiny.en": 2.0}')
    assert read_rates(tmp_path) == {}
