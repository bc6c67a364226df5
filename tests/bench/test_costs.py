"""What rows cost: sums over actors and runs, and the table of a machine's speed."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from bench.execution.energy import energy_meter, no_energy
from bench.execution.worktime import Clocked, Reading
from bench.report.speed import write_speed
from bench.store.costs import SPEED, Cost, SpeechCost, add_costs, read_costs, with_keys
from bench.tables.speed import speed_frame


def _cost(rows: int, seconds: float, device: str = "cpu", **changes: Any) -> Cost:
    usual = {"calls": 2, "batch_rows": 2 * rows, "cpu_seconds": 2 * seconds, "peak_bytes": 10**9}
    facts = {"device": device, "processor": "A", "rows": rows, "seconds": seconds}
    return Cost(**(facts | usual | changes))


def test_a_batch_is_shared_by_the_frames_that_each_speech_has() -> None:
    actor = Clocked()
    actor.start_clock("cpu")
    start = actor.reading()
    actor.add_cost(Reading(start.seconds - 10, start.cpu_seconds - 4), {"a": [2, 1], "b": [9]})
    actor.add_cost(Reading(start.seconds - 1, start.cpu_seconds), {"a": [0]})
    costs = actor.costs()
    assert (costs["a"].rows, costs["a"].calls, costs["a"].batch_rows) == (3, 2, 4)
    assert (costs["b"].rows, costs["b"].calls, costs["b"].batch_rows) == (1, 1, 3)
    # A quarter of the first batch, and all of the second; the clock has gone on since.
    assert costs["a"].seconds >= 3.5
    assert costs["b"].seconds / (costs["a"].seconds - 1) == pytest.approx(3, rel=0.5)
    assert costs["b"].cpu_seconds >= 3
    assert costs["a"].peak_bytes > 10**7


def test_the_first_row_of_a_speech_has_no_latency() -> None:
    actor = Clocked()
    actor.start_clock("cpu")
    now = actor.reading()
    for item, seconds in (("a", 9.0), ("b", 1.0), ("c", 2.0)):
        since = Reading(now.seconds - seconds, now.cpu_seconds)
        actor.add_cost(since, {"x": [5]}, alone=item)
    actor.add_cost(now, {"x": [5], "y": [5]})
    assert actor.costs()["x"].alone == pytest.approx({"b": 1.0, "c": 2.0}, abs=0.5)
    assert actor.costs()["y"].alone == {}
    assert actor.costs()["x"].joules == 0


def test_energy_is_that_of_the_card_s_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    millijoules = iter([0, 1_000, 5_000, 6_000, 6_000])

    class Unsupported(Exception):
        pass

    driver: Any = SimpleNamespace(
        NVMLError=Unsupported,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda name: name,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: (
            next(millijoules) if handle == "GPU-1f" else None
        ),
    )
    monkeypatch.setitem(sys.modules, "pynvml", driver)
    card = SimpleNamespace(uuid="1f")
    monkeypatch.setattr("torch.cuda.get_device_properties", lambda number: card)
    monkeypatch.setattr("torch.cuda.max_memory_allocated", lambda: 7)
    actor = Clocked()
    actor.start_clock("cuda", "H200")
    actor.add_cost(actor.reading(), {"x": [3], "y": [1]})
    assert (actor.costs()["x"].joules, actor.costs()["y"].joules) == (3.0, 1.0)
    assert (actor.costs()["x"].device, actor.costs()["x"].peak_bytes) == ("H200", 7)

    def refuses(handle: object) -> None:
        raise Unsupported

    driver.nvmlDeviceGetTotalEnergyConsumption = refuses
    assert energy_meter() is no_energy
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert energy_meter() is no_energy


def test_costs_of_a_second_run_are_added(tmp_path: Path) -> None:
    add_costs(tmp_path, [])
    assert not (tmp_path / SPEED).exists()
    known = with_keys({"x": _cost(4, 8.0), "of another job": _cost(9, 9.0)}, "decoding", {"x": "k"})
    add_costs(tmp_path, known)
    add_costs(tmp_path, [SpeechCost("k", "decoding", _cost(2, 1.0, peak_bytes=2 * 10**9))])
    add_costs(tmp_path, [SpeechCost("k", "decoding", _cost(2, 1.0, "H200"))])
    cpu, gpu = read_costs(tmp_path)
    assert cpu == SpeechCost("k", "decoding", _cost(6, 9.0, calls=4, peak_bytes=2 * 10**9))
    assert gpu.cost.device == "H200"
    (tmp_path / SPEED).write_text("[{}]")
    assert read_costs(tmp_path) == ()


def _scores(label: str, key: str, seed: int, is_timed: bool = True) -> Any:
    system = SimpleNamespace(is_timed=lambda: is_timed, details=dict)
    cell = SimpleNamespace(
        label=label, prompt=0.5, speech_key=key, name=key, source=None, part="whole", seed=seed,
        system=system,
    )  # fmt: skip
    # Half of 4 s was given, and a third item failed.
    items = pl.DataFrame(
        {
            "seconds": [4.0, 4.0, None],
            "prompt_frames": pl.Series([100, 100, 0], dtype=pl.Int32),
            "frames": pl.Series([200, 200, 0], dtype=pl.UInt32),
        }
    )
    return SimpleNamespace(cell=cell, items=items)


def test_speed_is_of_one_device_and_all_seeds(tmp_path: Path) -> None:
    scores = [_scores("ours", "a", 0), _scores("ours", "b", 1), _scores("floor", "c", 0, False)]
    decoding = _cost(6, 0.0, cpu_seconds=0.0, alone={"i": 0.1, "j": 0.1}, joules=60.0)
    costs = [
        SpeechCost("a", "generating", _cost(3, 6.0, price=1.5, alone={"i": 1.0, "j": 2.0})),
        SpeechCost("b", "generating", _cost(3, 2.0, alone={"i": 0.5, "k": 9.0})),
        SpeechCost("b", "generating", _cost(3, 0.5, "H200", processor="B", joules=30.0)),
        SpeechCost("a", "decoding", decoding),
        SpeechCost("b", "decoding", replace(decoding, rows=0)),
        SpeechCost("c", "generating", _cost(3, 1.0)),
    ]
    first, second = speed_frame(scores, costs).rows(named=True)
    assert first == {
        "system": "ours", "prompt": 0.5, "device": "cpu", "machine": "A", "batch": 3.0, "items": 6,
        # 4/3 s of speech an item, in 8/6 s; two CPUs' time.
        "RTFx": 1.0, "device-seconds": pytest.approx(8 / 3), "price": 0.25, "peak MB": 1000.0,
        # Both seeds' items that were generated and decoded alone: 0.6, 1.1 and 2.1 s.
        "J an item": None, "latency p50": pytest.approx(1.1), "latency p95": pytest.approx(2.0),
        "alone": 3,
    }  # fmt: skip
    # It was decoded on another machine, of which nothing is known here.
    assert (second["machine"], second["items"], second["RTFx"]) == ("B", 3, None)
    assert (second["alone"], second["latency p50"], second["J an item"]) == (0, None, None)
    joules = [
        SpeechCost("a", "generating", _cost(3, 0.5, "H200", joules=30.0)),
        SpeechCost("a", "decoding", _cost(6, 0.5, "H200", joules=6.0)),
    ]
    assert speed_frame(scores[:1], joules)["J an item"].to_list() == [11.0]
    add_costs(tmp_path, costs)
    write_speed(speed_frame(scores, read_costs(tmp_path)), tmp_path)
    text = (tmp_path / "speed.md").read_text()
    row = (
        "| ours | 0.50 | cpu | A | 3.00 | 6 | 1.00 | 2.67 | 0.25 | 1000.00 | - | 1.10 | 2.00 | 3 |"
    )
    assert row in text
    assert "floor" not in text
    write_speed(speed_frame(scores[2:], read_costs(tmp_path)), tmp_path)
    assert not (tmp_path / "speed.md").exists()
