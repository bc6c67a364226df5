"""Pace and remaining time in progress lines."""

import datetime
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from bench.asr.whisper import WhisperAsr
from bench.commands.dry_run import predicted
from bench.common.progress import Speed, progress
from bench.execution.rates import Took, keep_rate, pace_of, read_rates
from bench.execution.runstate import RunState
from bench.execution.stages import Pace
from bench.jobs.cells import Cell
from bench.systems.pixvox import PixVoxSystem
from bench.systems.recorded import RecordedSystem


@pytest.mark.parametrize(
    ("actors", "startup", "batch_seconds", "batches"),
    [(1, 18.0, 18.0, 14), (2, 15.0, 5.0, 14), (3, 40.0, 18.0, 24), (16, 30.0, 12.0, 120)],
)
def test_the_time_left_does_not_include_start_up(
    actors: int, startup: float, batch_seconds: float, batches: int
) -> None:
    """Actors that start together and give batches of 8, some up to 5% slower than others."""
    total = 8 * batches
    came = sorted(
        startup + round_ * batch_seconds * (1 + 0.05 * actor / actors)
        for round_ in range(1, 1 + -(-batches // actors))
        for actor in range(actors)
    )[:batches]
    speed, estimates = Speed(), 0
    for tick in range(int(2 * came[-1])):
        now = tick / 2
        speed.update(8 * sum(time <= now for time in came), total, now)
        left, truth = speed.left(now), came[-1] - now
        # The last rounds do not keep all actors busy.
        if now >= 60 and left and truth > 2 * batch_seconds:
            estimates += 1
            assert truth / 1.5 <= left <= 1.5 * truth, (now, left, truth)
    assert estimates > 0 or came[-1] < 70


@pytest.mark.parametrize(
    ("each", "seconds", "total", "said"),
    [
        (200, 10.0, 1400, "20/s, about 49 s left"),
        (5, 10.0, 1010, "2 s each, about 33 min left"),
        (1000, 1000.0, 9200, "1/s, about 2.0 h left"),
        (25, 10.0, 50, "2.5/s"),
    ],
)
def test_speeds_are_formatted(each: int, seconds: float, total: int, said: str) -> None:
    speed = Speed()
    for number in range(3):
        assert speed.words(number * seconds) == ""
        speed.update(number * each, total, number * seconds)
    # A second later nothing more of that round can come.
    assert speed.words(2 * seconds + 1) == said


def test_lines_have_the_current_pace_of_their_stage(
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


def test_a_prediction_names_the_run_of_its_pace(tmp_path: Path) -> None:
    system = RecordedSystem(kind="recorded")
    whole, short = (
        Cell(
            label="recorded",
            system=system,
            pattern="",
            prompt=0.0,
            asr=asr,
            part="whole",
            speech_key="s",
            transcript_key="t",
        )
        for asr in (WhisperAsr(), WhisperAsr(window="adaptive"))
    )

    def took(rows: int, seconds: float) -> Took:
        # The first 10 rows were there 20 s after Ray was started; reading and scoring took 15 s.
        return Took(
            Pace(rows=rows + 10, seconds=20 + seconds, first=20.0, stages=(), first_rows=10),
            35 + seconds,
        )

    keep_rate(tmp_path, "few", [whole], took(23, 1.0))
    keep_rate(tmp_path, "mixed", [whole, short], took(100, 1.0))
    assert read_rates(tmp_path) == {}
    keep_rate(tmp_path, "slow", [whole], took(100, 200.0))
    keep_rate(tmp_path, "quick", [short], took(100, 50.0))
    rates = read_rates(tmp_path)
    assert {name: (rate.seconds, rate.startup) for name, rate in rates.items()} == {
        "openai-whisper tiny.en": (2.0, 15.0),
        "openai-whisper tiny.en, adaptive window": (0.5, 30.0),
    }
    run = SimpleNamespace(items=range(50), transcribed={"t": SimpleNamespace(count=20)})
    words = predicted([whole], cast(RunState, run), rates)
    assert words.startswith("about 75 s, 15 s of it start-up, at the pace of run slow")
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
