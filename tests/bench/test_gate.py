"""The gate's verdicts on runs whose truth is known, and what it says where it cannot judge."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from bench.cli import main
from bench.errors import UserError
from bench.gate import seconds
from bench.golden import Golden, read_golden, write_golden
from bench.perf.gate import INJURIES, stored
from bench.regression import Verdict, exact, incomparable, judge, overall
from bench.report.ci import annotations, comment, junit
from bench.speed import interleaved, judge_speed

ITEMS = 200


@pytest.fixture(scope="module")
def golden() -> Golden:
    return stored(ITEMS, np.random.default_rng(0))


def _items(golden: Golden) -> list[str]:
    return golden.rows["item"].unique(maintain_order=True).to_list()


def test_a_run_is_as_good_as_itself(golden: Golden) -> None:
    findings = judge(golden, golden, _items(golden))
    assert overall(findings) == Verdict.PASS
    assert overall(exact(golden, golden, _items(golden))) == Verdict.PASS


@pytest.mark.parametrize("name", INJURIES)
def test_an_injury_is_a_regression(golden: Golden, name: str) -> None:
    head = INJURIES[name](golden, np.random.default_rng(1))
    findings = judge(golden, head, _items(golden))
    assert overall(findings) == Verdict.REGRESSED


def test_a_changed_unit_is_found_at_its_frame(golden: Golden) -> None:
    (name,) = golden.rows["cell"].unique().to_list()
    units = np.frombuffer(golden.rows["units"][3], dtype=np.int16).reshape(4, -1).copy()
    units[2, 17] ^= 1
    changed = golden.rows["units"].to_list()
    changed[3] = units.tobytes()
    rows = golden.rows.with_columns(units=pl.Series(changed, dtype=pl.Binary))
    (found,) = exact(golden, replace(golden, rows=rows), _items(golden))
    assert found.cell == name
    assert found.detail == f"1 of {ITEMS} items changed; i0003: first differing frame 17"


def test_what_cannot_be_compared_is_said(golden: Golden) -> None:
    assert incomparable(golden, golden, False) == ""
    elsewhere = replace(golden, machine="another")
    assert "another machine" in incomparable(golden, elsewhere, False)
    assert incomparable(golden, elsewhere, True) == ""
    other = {n: replace(s, asr="base.en") for n, s in golden.signatures.items()}
    assert "asr is base.en" in incomparable(golden, replace(golden, signatures=other), True)
    assert "other cells" in incomparable(golden, replace(golden, signatures={}), True)


def test_a_golden_never_changes(golden: Golden, tmp_path: Path) -> None:
    path = write_golden(golden, tmp_path)
    assert write_golden(golden, tmp_path) == path
    again = read_golden(path)
    assert again.rows.equals(golden.rows)
    assert again.signatures == golden.signatures
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(UserError, match=r"changed since it was made|not a golden"):
        read_golden(path)


def test_no_golden_never_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = Path(__file__).parents[2] / "jobs" / "gate.yaml"
    assert main(["gate", str(job), "--baseline", str(tmp_path)]) == 4
    assert "no golden of gate" in capsys.readouterr().out
    assert main(["gate", str(job), "--budget", "soon"]) == 2
    assert "write a number and s, m or h" in capsys.readouterr().err
    assert seconds("1.5m") == 90


def test_hostile_speech_is_inert_where_ci_shows_it(golden: Golden) -> None:
    hostile = "\n::error::x</testcase> | <b>[a](b) %0A"
    head = INJURIES["silent outputs"](golden, np.random.default_rng(1))
    findings = [replace(f, cell=hostile) for f in judge(golden, head, _items(golden))]
    suite = ElementTree.fromstring(junit(findings))
    assert suite.attrib["failures"] == str(len(suite.findall("testcase/failure"))) != "0"
    assert all(line.count("::error") == 1 and "\n" not in line for line in annotations(findings))
    text = comment(findings, [(hostile, "i", hostile, "")], hostile)
    assert "<b>" not in text
    assert all(line.count(" | ") <= 3 for line in text.splitlines() if line.startswith("| worst"))


def _replicates(factor: float, noise: float) -> list[dict[str, float]]:
    rng = np.random.default_rng(2)
    base = {"decoder steps": 50.0, "encoder calls": 8.0, "tokens": 900.0, "peak MB": 500.0}
    return [base | {"seconds": factor * float(np.exp(rng.normal(0, noise)))} for _ in range(6)]


@pytest.mark.parametrize(
    ("factor", "noise", "canaries", "verdict"),
    [
        (1.0, 0.01, [1.0, 1.02], Verdict.PASS),
        (1.1, 0.01, [1.0, 1.02], Verdict.REGRESSED),
        (1.1, 0.01, [1.0, 1.5], Verdict.INCONCLUSIVE),
        (1.03, 0.3, [1.0, 1.02], Verdict.INCONCLUSIVE),
    ],
)
def test_speed_is_judged_only_on_a_quiet_machine(
    factor: float, noise: float, canaries: list[float], verdict: Verdict
) -> None:
    before = _replicates(1.0, noise)
    after = [r | {"seconds": r["seconds"] * factor} for r in _replicates(1.0, 0.01)]
    found = {f.what: f.verdict for f in judge_speed(before, after, canaries)}
    assert found["time"] == verdict
    assert found["decoder steps"] == Verdict.PASS


def test_counters_are_gated_exactly() -> None:
    before = _replicates(1.0, 0.01)
    after = [r | {"decoder steps": 51.0, "peak MB": 511.0} for r in before]
    found = {f.what: f.verdict for f in judge_speed(before, after, [1.0, 1.0])}
    assert found["decoder steps"] == Verdict.REGRESSED
    assert found["peak memory"] == Verdict.REGRESSED
    assert found["tokens"] == Verdict.PASS


def test_replicates_are_interleaved() -> None:
    order: list[str] = []
    figure = {"seconds": 1.0}

    def run(name: str) -> dict[str, float]:
        order.append(name)
        return figure

    interleaved(lambda: run("base"), lambda: run("head"), 3)
    assert order == ["base", "head", "head", "base", "base", "head"]
