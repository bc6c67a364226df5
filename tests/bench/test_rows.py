"""Only what was measured has a grade, and all that failed is counted."""

from dataclasses import replace
from typing import cast

import numpy as np
import polars as pl
import pytest
from measured import DRAWN, ITEMS, PROTOCOL, cell_scores, notes_of, rows_of, table_frame

from bench.commands.run import refuse_unmeasured
from bench.common.errors import RunFailed
from bench.common.resampling import Resampling
from bench.jobs.spec import ScoringSpec
from bench.metrics.counted import Counted
from bench.scoring.inference import intervals
from bench.scoring.scorer import CellScores, Scorer, taxonomy
from bench.systems.silence import SilenceSystem
from bench.tables.chance import scores_above_chance
from bench.tables.comparison import comparison
from bench.tables.failures import failures
from bench.tables.pooling import base_of, ranked
from bench.tables.testing import PairTests
from tests.evidence.rates import said, statistics_of


def test_intervals_stay_within_the_bounds_of_scores() -> None:
    counted = statistics_of(said(2, np.random.default_rng(0), 0.97))
    ends = intervals(counted, Resampling(replicates=400))
    for score in counted.scores:
        assert ends[score.name].score <= ends[score.name].high <= score.most
    assert max(score.most for score in counted.scores) == float("inf")


def test_speech_without_a_value_is_named_and_a_metric_without_any_ends_the_run() -> None:
    scores = cell_scores("ours")
    items = scores.items.with_columns(seconds=pl.lit(2.0))
    lost = {"DNSMOS": ["i1: it is too short", "i7: it is too short"]}
    partly = replace(scores, items=items, unmeasured=lost)
    [row] = table_frame(rows_of(partly)).filter(block="measured").iter_rows(named=True)
    said = f"DNSMOS has no value of 2 of {ITEMS} speeches: 2 × it is too short (first: i1)"
    assert said in row["note"].split("\n")
    refuse_unmeasured("trial", [partly])
    wholly = replace(partly, unmeasured={"DNSMOS": ["it is too short"] * ITEMS})
    with pytest.raises(RunFailed, match="trial: DNSMOS has no value of ours: it is too short"):
        refuse_unmeasured("trial", [wholly])


def test_nothing_transcribed_is_no_measurement() -> None:
    dead, alive, other = (
        cell_scores("dead", ITEMS),
        cell_scores("alive"),
        cell_scores("other", seed=1),
    )
    rows = rows_of(dead, alive, other)
    assert [ranked(row) for row in rows] == [False, True, True]
    assert base_of(rows[1], [row for row in rows if ranked(row)]) is rows[1]
    frame = table_frame(rows).filter(block="measured")
    assert frame["grade"].to_list() == ["-", "✓", "✓"]
    assert (frame["C"][0], frame["C_low"][0]) == (None, None)
    assert frame["best"][0].to_list() == []
    assert frame["significant"][0].to_list() == []
    assert f"Nothing was transcribed: {ITEMS} of {ITEMS} items failed" in frame["reason"][0]
    # The other rows are graded against the first that measured anything.
    said = " ".join(notes_of(table_frame(rows)))
    assert f"Nothing was transcribed: {ITEMS} of {ITEMS} items failed (dead)." in said
    assert f"{ITEMS} × no such file (first: i0.wav)" in said


def test_a_floor_needs_every_item_and_a_system_one() -> None:
    floor = SilenceSystem(kind="silence")
    frame = table_frame(
        rows_of(
            cell_scores("floor", 1, system=floor),
            cell_scores("whole floor", system=SilenceSystem(kind="silence", seconds=2)),
            cell_scores("failed some", ITEMS - 1),
            cell_scores("lost some", 1, cause="machine", seed=2),
            cell_scores("all good", seed=1),
        )
    ).filter(block="measured")
    assert frame["grade"].to_list() == ["-", "✓", "✓", "≈", "✓"]
    lost = "Items lost to processes that died, so run the job again: 1 of 40"
    assert frame["reason"][3] == lost
    assert frame["best"][3].to_list() == []


def test_all_seeds_of_a_row_are_told() -> None:
    first, two = cell_scores("seeds", 1), cell_scores("seeds", 2)
    (row,) = rows_of(first, two)
    frame = table_frame([row]).filter(block="measured")
    assert (frame["failed"][0], row.asked) == (3, 2 * ITEMS)
    assert "3 × no such file" in frame["note"][0]


class _Counting:
    """Counts as a scorer does: an item's own words as they are, another's as worth half."""

    def __init__(self, like: CellScores, blind: bool) -> None:
        self.like, self.blind = like, blind
        self.spec = ScoringSpec(replicates=200)

    def counted(self, hypotheses: dict[str, str]) -> Counted:
        counted = self.like.counted
        own = np.array([self.blind or said == f"words of {n}" for n, said in hypotheses.items()])
        points = np.array([name.endswith(": score") for name in counted.columns])
        less = np.where(points, 0.5 * counted.values, counted.values)
        return counted.with_values(np.where(own[:, None], counted.values, less))


@pytest.mark.parametrize("blind", [False, True])
def test_a_system_of_other_data_is_marked_and_tested(blind: bool) -> None:
    scores = []
    for label, learnt in (("ours", ("scenes",)), ("theirs", ("coco", "flickr8k"))):
        measured = cell_scores(label)
        tokens = pl.Series("tokens", [f"words of {n}" for n in measured.items["item"]])
        cell = replace(measured.cell, trained_on=learnt)
        scores.append(replace(measured, cell=cell, items=measured.items.with_columns(tokens)))
    rows = rows_of(*scores)
    above = scores_above_chance(rows, "scenes", cast(Scorer, _Counting(scores[1], blind)))
    assert list(above) == [scores[1].cell.name]
    options = {"asr": "tiny.en", "run": "trial", "tests": PairTests(DRAWN), "above_chance": above}
    ours, theirs = comparison(rows, "table1", PROTOCOL, **options)[-2:].to_dicts()
    assert ours["training"] == "unknown"
    assert theirs["training"] == "unknown, trained on coco and flickr8k"
    note, _, where = theirs["note"].rpartition(": ")
    assert note.startswith("Scores above the chance level (the same transcripts assigned to other")
    assert where == "none" if blind else "CIDEr" in where
    assert ours["note"] == ""


def test_failures_are_shares_of_all_items_of_a_row() -> None:
    halves = [cell_scores("seeds"), cell_scores("seeds")]
    halves[0] = replace(halves[0], kinds=halves[0].kinds | {"looping": 0.5, "failed": 0.5})
    frame = failures(rows_of(*halves, cell_scores("other")))
    assert frame.select("system", "n", "looping", "silent").rows() == [("seeds", 2 * ITEMS, 25, 0)]
    assert "failed" not in frame.columns


def test_a_table_without_measured_rows_is_none() -> None:
    rows = rows_of(cell_scores("one"))
    assert table_frame(rows, "table2").is_empty()
    prompted = rows_of(cell_scores("one", prompt=0.5))
    assert table_frame(prompted, "table1").is_empty()


def test_reasons_are_counted_by_what_they_say() -> None:
    reasons_given = (
        [f"{n}.wav: no such file" for n in range(985)] + ["ValueError: x"] * 2 + ["a", "b", None]
    )
    assert taxonomy.reasons(pl.Series(reasons_given)) == [
        "985 × no such file (first: 0.wav)",
        "2 × ValueError: x",
        "1 × a",
        "2 other reasons",
    ]
    assert taxonomy.reasons(pl.Series([], dtype=pl.String)) == []
