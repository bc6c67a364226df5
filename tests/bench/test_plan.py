"""`pixvox show plan` and `pixvox show subgroups`: a finished run's counts by image."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pages import finished_run

from bench.cli import main
from bench.commands.plan import Sought, needs
from bench.commands.subgroups import subgroup_frame
from bench.common.errors import UserError
from bench.metrics.base import Array, Hypotheses, Metric, References, Score
from bench.metrics.counted import Counted
from bench.report.page.finished import read_finished
from bench.scoring.planning import Spread, influences, reach_of, spread_of
from tests.evidence.stub import METRIC

_IMAGES, _SEEDS = 4000, 3
_BY_IMAGE, _BY_SEED = 3.0, 4.0


class _Ratio(Metric):
    name, columns, scores = "ratio", ("above", "below"), (Score("ratio", "R"), Score("twice", "T"))

    def statistics(self, hypotheses: Hypotheses, references: References) -> Array:
        raise NotImplementedError

    def score(self, sums: Array) -> Array:
        ratio = 100 * sums[..., :1] / sums[..., 1:]
        return np.concatenate([ratio, 2 * ratio], axis=-1)


def _cells(shift: float, rng: np.random.Generator, common: Array, seeds: int) -> list[Counted]:
    """Seeds of a system: images that are alike in both systems, and draws that are not."""
    own = common + shift + rng.normal(scale=_BY_IMAGE, size=_IMAGES)
    return [
        Counted(
            (_Ratio(),),
            np.column_stack([own + rng.normal(scale=_BY_SEED, size=_IMAGES), np.full(_IMAGES, 50)]),
        )
        for _ in range(seeds)
    ]


def test_the_components_of_a_known_experiment_come_back() -> None:
    rng = np.random.default_rng(0)
    common = 20 + rng.normal(scale=9, size=_IMAGES)
    first, second = (_cells(shift, rng, common, _SEEDS) for shift in (0.0, 1.0))
    a, b = (influences(cells, "ratio") for cells in (first, second))
    # A score is 100 / 50 times a mean: the images' part is what the systems do not have in common.
    spread = spread_of(a, b, drawn=(True, True))
    assert spread.images == pytest.approx(4 * 2 * _BY_IMAGE**2, rel=0.1)
    assert spread.seeds == pytest.approx(4 * 2 * _BY_SEED**2, rel=0.05)
    assert influences(first, "twice") == pytest.approx(2 * a)
    with pytest.raises(KeyError):
        influences(first, "BLEU-4")
    # A single draw of a system that draws tells nothing of seeds; one that does not, has none.
    lone = spread_of(a[:1], b, drawn=(True, True))
    assert lone.seeds is None
    assert lone.images_needed(1.0, 1) > spread.images_needed(1.0, _SEEDS)
    assert spread_of(a[:1], b[:1], drawn=(False, False)).seeds == 0


def test_the_planned_number_of_images_has_the_planned_power() -> None:
    spread, difference, power = Spread(72.0, 128.0), 2.0, 0.8
    reach = reach_of(difference, power)
    rng = np.random.default_rng(1)
    for seeds in (1, 4):
        images = spread.images_needed(reach, seeds)
        error = np.sqrt((72 + 128 / seeds) / images)
        observed = rng.normal(difference, error, size=20_000)
        assert np.mean(np.abs(observed) > 1.959964 * error) == pytest.approx(power, abs=0.015)
        assert spread.seeds_needed(reach, images) <= seeds  # type: ignore[operator]
    # With so few images no number of seeds is enough.
    few = int(72 / reach**2)
    assert spread.seeds_needed(reach, few) is None
    assert spread.seeds_needed(reach, few + 2) is not None


@pytest.mark.slow
def test_every_pair_of_systems_of_a_run_is_planned(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sought = Sought(difference=10, metric="BLEU-1", power=0.8)
    frame = needs(read_finished(runs / "one"), sought)
    pairs = frame["systems"].to_list()
    # The four rows that compete, at the two prompt shares.
    assert [pair.partition(" and ")[2] for pair in pairs] == ["delay", "delay, 50% prompt"]
    half = needs(read_finished(runs / "one"), replace(sought, difference=5))
    for few, many in zip(frame["1 seed"], half["1 seed"], strict=True):
        assert many == pytest.approx(4 * few, abs=4)
    # Both decode greedily, so that seeds save nothing.
    assert frame["8 seeds"].to_list() == frame["1 seed"].to_list()
    asked = ["show", "plan", "one", "--runs", str(runs), "--difference", "2", "--metric"]
    capsys.readouterr()
    assert main([*asked, "BLEU-1"]) == 0
    said = capsys.readouterr().out
    assert "Images that detect a difference of 2 of BLEU-1 in one" in said
    assert "A two-sided test at 5% detects a difference of 2 with a power of 80%" in said
    assert main([*asked, "BLEU-9"]) == 2
    assert "--metric BLEU-9: did you mean `BLEU-4`?" in capsys.readouterr().err
    assert main(["show", "plan", "none", "--runs", str(runs), "--difference", "2"]) == 2


@pytest.mark.slow
def test_metrics_of_speech_are_planned_and_grouped_as_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scoring = {"metrics": [METRIC, "speaking_rate"], "replicates": 100}
    run = read_finished(finished_run(tmp_path, "sounds", scoring=scoring))
    names = sorted(run.rows["item"].unique())
    groups = {name: "early" if n < 3 else "late" for n, name in enumerate(names)}
    frame = subgroup_frame(run, groups)
    of = frame.filter(system="delay", metric="stub").sort("group")
    # The speech's number, and the mean number of the items.
    [early, late] = of["score"]
    assert late - early == (3 + 4 + 5 + 6 + 7) / 5 - 1
    assert "speaking rate" in set(frame.filter(system="delay")["metric"])
    # A text has neither.
    texts = frame.filter(pl.col("system").str.contains("caption"))
    assert not {"stub", "speaking rate"} & set(texts["metric"])
    planned = needs(run, Sought(difference=1, metric="speaking rate", power=0.8))
    assert planned.height == 2
    # Two systems whose values differ by the same number for every image.
    assert needs(run, Sought(difference=1, metric="stub", power=0.8))["1 seed"].to_list() == [2, 2]
    # A ledger that has lost what was measured leaves the metric out.
    shutil.rmtree(run.folder / "ledger" / "measured")
    assert "stub" not in set(subgroup_frame(run, groups)["metric"])
    with pytest.raises(UserError, match="--metric stub: choose one of"):
        needs(run, Sought(difference=1, metric="stub", power=0.8))


@pytest.mark.slow
def test_subgroups_are_scored_as_if_they_were_all(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = read_finished(runs / "one")
    names = sorted(run.rows["item"].unique())
    lines = [f"{name},{'small' if n < 3 else 'large'},x" for n, name in enumerate(names[:-1])]
    table = tmp_path / "groups.csv"
    table.write_text("\n".join(["id,size,other", *lines, f"{names[-1]},odd,x"]) + "\n")
    out = tmp_path / "out.csv"
    asked = ["show", "subgroups", "one", str(table), "--runs", str(runs), "--by"]
    capsys.readouterr()
    assert main([*asked, "size", "-o", str(out)]) == 0
    assert "1 image of 8 in no group of 2 or more." in capsys.readouterr().out
    frame = pl.read_csv(out)
    # A group of all images has the run's own scores and intervals.
    everything = subgroup_frame(run, dict.fromkeys(names, "all"))
    for row in everything.filter(system="delay").iter_rows(named=True):
        [own] = [c for c in run.cells if c["system"] == "delay" and c["asr"] == run.asr][:1]
        assert row["score"] == pytest.approx(own["scores"][row["metric"]]["score"])
        assert row["low"] == pytest.approx(own["scores"][row["metric"]]["low"])
    small = frame.filter(system="delay", group="small", metric="BLEU-1")
    assert small["images"].to_list() == [3]
    assert (frame["low"] <= frame["score"]).all()
    assert set(frame["group"]) == {"small", "large"}
    assert main([*asked, "colour"]) == 2
    assert "groups.csv:1: expected the columns id,colour" in capsys.readouterr().err
    table.write_text(f"id,size\n{names[0]},a\n{names[0]},b\n")
    assert main([*asked, "size"]) == 2
    why = f"groups.csv:3: {names[0]} has two values of size: 'a' and 'b'"
    assert why in capsys.readouterr().err
