"""Tables fit every width without a cut name, and only what was measured has a grade."""

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from bench.asr.shipped import DEFAULT
from bench.commands.run import refuse_unmeasured
from bench.common.errors import RunFailed, UserError
from bench.common.figures import save_figure
from bench.common.resampling import Resampling
from bench.jobs.cells import Cell
from bench.jobs.naming import names_without_seed
from bench.jobs.spec import ScoringSpec
from bench.jobs.tables import TABLES
from bench.metrics.counted import Counted, leading
from bench.report import terminal
from bench.report.figures import sweep_figure
from bench.report.fit import wrapped
from bench.report.notes import LONGEST, Note, notes
from bench.scoring.inference import intervals
from bench.scoring.scorer import CellScores, Scorer, taxonomy
from bench.scoring.signature import Signature
from bench.systems.base import System
from bench.systems.decoding import DecodingSpec
from bench.systems.pixvox import PixVoxSystem
from bench.systems.silence import SilenceSystem
from bench.systems.wavs import WavsSystem
from bench.tables.audit import audited, summary
from bench.tables.chance import scores_above_chance
from bench.tables.comparison import comparison, published_frame
from bench.tables.failures import failures
from bench.tables.points import choices, points
from bench.tables.pooling import Row, base_of, pooled, ranked
from bench.tables.protocol import Protocol
from bench.tables.published import load_published
from bench.tables.sweep import pivot, sensitivity, tidy
from bench.tables.testing import PairTests, marked
from tests.evidence.rates import said, statistics_of

ITEMS = 40
PROTOCOL = Protocol(
    dataset="scenes",
    split="test",
    dataset_digest="0" * 16,
    speech="synthetic",
    items=ITEMS,
    of=2 * ITEMS,
    asr="tiny.en",
    references="all",
)
SIGNATURE = Signature(
    data="scenes.test@0",
    references="all",
    left_out="none",
    per_image="5",
    normaliser="none",
    tokeniser="ptb",
    metrics="m",
    idf="i",
    asr="tiny.en",
    part="whole",
    codec="",
    weights="",
    seeds="",
    n=ITEMS,
    failed=0,
    version="0",
)
DRAWN = Resampling(replicates=100)
NAMES = (
    "PixVoxLM-tiny-Parallel, continuation only",
    "a system that somebody has given a name of sixty letters, all",
    "x" * 60,
    "猫の写真を説明するシステムの名前はとても長いので折り返します",
    "ours 🐶🐱 with-a-hyphenated/path_like.name:and+more",
    "short",
)


def _scores(label: str, failed: int = 0, cause: str = "", **changes: Any) -> CellScores:
    """A cell of which the first items failed; what it says is better with a smaller seed."""
    # Unvalidated: tables must not rely on what a job file refuses in a label.
    wavs = WavsSystem.model_construct(kind="wavs", label=label, folder=Path("x"))
    system: System = changes.get("system") or wavs
    counted = statistics_of(said(ITEMS, np.random.default_rng(changes.get("seed", 0))))
    worse = statistics_of(said(ITEMS, np.random.default_rng(99)))
    counted.values[:failed] = worse.values[:failed] * 0.5
    status = ["failed"] * failed + ["ok"] * (ITEMS - failed)
    items = pl.DataFrame(
        {
            "item": [f"i{number}" for number in range(ITEMS)],
            "status": status,
            "reason": [
                f"i{number}.wav: no such file" if s != "ok" else ""
                for number, s in enumerate(status)
            ],
            "cause": [cause if s != "ok" else "" for s in status],
            "device": [""] * ITEMS,
            "generated_on": [""] * ITEMS,
            "ended": [True] * ITEMS,
        }
    )
    prompt = changes.get("prompt", 0.0)
    cell = Cell(
        label=label,
        system=system,
        pattern="",
        prompt=prompt,
        asr=DEFAULT,
        part="whole",
        speech_key=f"s{label}",
        transcript_key=f"h{label}",
    )
    return CellScores(
        cell=cell,
        counted=counted,
        scores=intervals(counted, DRAWN),
        items=items,
        n=ITEMS,
        failed=failed,
        unended=0,
        kinds=dict.fromkeys(taxonomy.KINDS, 0.0),
        signature=replace(SIGNATURE, failed=failed),
    )


def _rows(*scores: CellScores) -> list[Row]:
    return pooled(scores, DRAWN)


def _frame(rows: Sequence[Row], table: str = "table1") -> pl.DataFrame:
    return comparison(rows, table, PROTOCOL, asr="tiny.en", run="trial", tests=PairTests(DRAWN))


def _said(frame: pl.DataFrame, left_out: Sequence[str] = ()) -> list[str]:
    return [note.text for note in notes(frame, "table1", PROTOCOL, left_out)]


def _printed(width: int, frame: pl.DataFrame, table: str = "table1") -> list[str]:
    console = Console(width=width, file=io.StringIO(), highlight=False, emoji=False)
    terminal.show(frame, table, PROTOCOL, console)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue().splitlines()


def _is_whole(name: str, lines: Sequence[str], widest: int) -> bool:
    """Whether a name stands in successive lines as it is wrapped at some width."""
    starts = [line[3:] for line in lines]
    for width in range(1, widest):
        parts = wrapped(name, width)
        for at in range(len(starts) - len(parts) + 1):
            if all(starts[at + n].startswith(part) for n, part in enumerate(parts)):
                return True
    return False


@pytest.mark.parametrize("width", [60, 71, 80, 97, 100, 119, 120, 144, 163, 200])
def test_no_name_mark_or_count_is_cut(width: int) -> None:
    frame = _frame(_rows(*(_scores(name, seed=n) for n, name in enumerate(NAMES))))
    lines = _printed(width, frame)
    assert all(cell_len(line) <= width for line in lines)
    assert not any("…" in line for line in lines)
    for name in NAMES:
        assert _is_whole(name, lines, 70), name
    marked = [line for line in lines if line[:3] in ("✓  ", "✗  ")]
    assert len(marked) == frame.height
    assert sum(line.split()[-1] == "0" or str(ITEMS) in line.split() for line in marked) == len(
        NAMES
    )


def test_columns_go_in_order_and_are_named() -> None:
    frame = _frame(_rows(_scores("one"), _scores("two", seed=1)))
    gone = []
    for width in range(200, 39, -1):
        lines = _printed(width, frame)
        text = " ".join(" ".join(lines).split())
        told = re.search(r"Left out to fit \d+ characters: ([^;]*);", text)
        names = told[1].split(", ") if told else []
        # What is left out is not shown, all else is.
        heads = next(line.split() for line in lines if line.split()[:1] == ["system"])
        assert not set(heads) & set(names)
        assert ("±" in " ".join(line for line in lines if line[:1] in "✓✗")) == ("±" not in names)
        assert {"system", "B4", "C", "n"} <= set(heads)
        assert names[: len(gone)] == gone
        gone = names  # a narrower table gives up no less
    assert gone == ["training", "B2", "B3", "B1", "±", "failed", "R", "M"][: len(gone)]
    assert gone[-1] in ("WER", "R", "M")
    assert not any("bootstrap" in text for text in _said(frame, ("±",)))


def test_the_only_star_is_given_up_last_and_what_all_have_is_no_mark() -> None:
    frame = _frame(_rows(_scores("one"), _scores("two")))
    assert all(row.is_empty() for row in frame.filter(block="measured")["best"])
    assert f"With {ITEMS} images no system differs significantly in B1" in " ".join(_said(frame))
    starred = frame.with_columns(significant=pl.lit(["B1", "B2"], pl.List(pl.String)))
    assert f"With {ITEMS} images no system differs significantly in B3" in " ".join(_said(starred))
    assert terminal._order(starred)[-1] == ("B1",)
    assert ("B2", "B3") in terminal._order(starred)
    # A column that is never given up has a star, too.
    always = frame.with_columns(significant=pl.lit(["B1", "C"], pl.List(pl.String)))
    assert terminal._order(always) == terminal._order(frame)


def test_a_fact_is_said_once_and_briefly() -> None:
    """One note a topic, with the names of the rows that each detail is of; at most two lines."""
    rows = _rows(*(_scores(name, min(n, 3), seed=n) for n, name in enumerate(NAMES)))
    said = _said(_frame(rows))
    assert max(map(len, said)) <= LONGEST
    assert len(set(said)) == len(said)
    assert not any("Published rows use all 80 test images" in text for text in said)
    assert said.count("The images are those of flickr8k, not of scenes.") == 1
    assert any(
        re.search(
            r"^Failed items: (.*; )?3 × no such file \(first: i0.wav\) \(.*; short\)\.$", text
        )
        for text in said
    )


def test_rows_of_a_detail_are_named_briefly() -> None:
    names = {"SAT", "SAT-FT", "E-I2S", "Im2Sp", "Im2Sp, image units", "PixVoxLM-Delay"}
    whole = replace(PROTOCOL, dataset="flickr8k", items=2 * ITEMS)
    frame = published_frame(load_published(), "table1", whole, "tiny.en")
    frame = frame.filter(pl.col("system").is_in(list(names)))
    said = [note.text for note in notes(frame, "table1", whole)]
    assert (
        "Not stated: whether speech is natural or synthesised (all but E-I2S); the ASR (SAT; "
        "E-I2S); n, seeds, normaliser, tokeniser (all rows)."
    ) in said
    assert (
        "Trained on: natural speech (E-I2S); flickr8k and coco (Im2Sp; Im2Sp, image units)." in said
    )
    # Of prompt shares: a system of which all are meant is named alone.
    prompted = pl.concat([frame.with_columns(prompt=pl.lit(share)) for share in (0.0, 0.5)])
    noted = (pl.col("system") == "SAT") | ((pl.col("system") == "E-I2S") & (pl.col("prompt") > 0))
    prompted = prompted.with_columns(
        reason=pl.lit(""), note=pl.when(noted).then(pl.lit("A fact: its detail")).otherwise(None)
    )
    said = [note.text for note in notes(prompted, "table2", whole)]
    assert "A fact: its detail (SAT; E-I2S at 50%)." in said


def test_bounds_are_named_where_no_column_says_which_they_are() -> None:
    frame = _frame(_rows(_scores("A Floor", system=SilenceSystem(kind="silence")), _scores("x")))
    said = [" ".join(_said(frame, left_out)) for left_out in ([], ["training"])]
    assert ["tested: floors." in text for text in said] == [True, False]
    assert ["tested: floors (A Floor)." in text for text in said] == [False, True]


def test_a_sentence_is_printed_once_however_notes_are_put_together() -> None:
    console = Console(width=300, file=io.StringIO(), highlight=False)
    printed: list[Note] = []
    for sentences in (("One.", "Two."), ("Two.", "Three."), ("One.",)):
        terminal.say_notes(console, [Note("Reading", sentences)], printed)
    file = console.file
    assert isinstance(file, io.StringIO)
    lines = [line.strip() for line in file.getvalue().splitlines() if line != "Reading"]
    assert lines == ["1. One. Two.", "Note 1 above holds here too.", "2. Three.", lines[1]]


def test_scores_that_are_counted_up_are_named_at_once() -> None:
    (first, *_) = _said(_frame(_rows(_scores("one"))))
    assert first.startswith("B1 to B4 are BLEU-1 to BLEU-4, M is METEOR, R is ROUGE-L, C is CIDEr")
    (first, *_) = _said(_frame(_rows(_scores("one"))), ("B2",))
    assert first.startswith("B1 is BLEU-1, B3 to B4 are BLEU-3 to BLEU-4, M is")


def test_a_later_table_prints_what_is_new() -> None:
    frame = _frame(_rows(_scores("one"), _scores("two", seed=1)))
    console = Console(width=200, file=io.StringIO(), highlight=False)
    printed: list[Note] = []
    for protocol in (PROTOCOL, replace(PROTOCOL, references="others")):
        terminal.show(frame, "table1", protocol, console, printed=printed)
    file = console.file
    assert isinstance(file, io.StringIO)
    first, second = file.getvalue().split("Table I:")[1:]
    assert "1. B1 to B4 are BLEU-1 to BLEU-4" in first
    numbered = re.findall(r"^ *(\d+)\. (.*)", second, re.MULTILINE)
    # Its first line.
    assert [printed[-1].text.startswith(text) for _, text in numbered] == [True]
    # All but the note of the other references; the last is new.
    other = next(n for n, note in enumerate(printed, 1) if "This raises ceilings" in note.text)
    kept = terminal.ranges([n for n in range(1, len(printed)) if n != other])
    assert f"Notes {kept} above hold here too." in second
    assert terminal.ranges([1, 2, 3, 5, 7, 8, 9]) == "1 to 3, 5 and 7 to 9"


def test_intervals_stay_within_the_bounds_of_scores() -> None:
    counted = statistics_of(said(2, np.random.default_rng(0), 0.97))
    found = intervals(counted, Resampling(replicates=400))
    for score in counted.scores:
        assert found[score.name].score <= found[score.name].high <= score.most
    assert max(score.most for score in counted.scores) == float("inf")


def test_the_committed_tables_keep_their_columns_at_their_widths() -> None:
    folder = Path(__file__).parents[2] / "results" / "scenes"
    names = [(table.name, reading) for table in TABLES for reading in ("", "-all")]
    there = [one for one in names if (folder / one[0] / f"{''.join(one)}.parquet").exists()]
    assert there
    for table, reading in there:
        frame = pl.read_parquet(folder / table / f"{table}{reading}.parquet")
        assert "B1" not in " ".join(_printed(80, frame, table)).split("Left out")[0].split()
        # All of it fits where the picture is drawn.
        assert not any(
            "Left out" in line for line in _printed(terminal.widest(frame, table), frame, table)
        )


def test_markup_emoji_and_commands_in_a_label_stay_text() -> None:
    label = "[red]:dog: ::error::x[/red]\x1b[2J\u202e"
    text = "\n".join(_printed(200, _frame(_rows(_scores(label), _scores("other")))))
    assert "[red]:dog: : :error: :x[/red]" in text
    assert not set("\x1b\u202e") & set(text)


def test_speech_without_a_value_is_named_and_a_metric_without_any_ends_the_run() -> None:
    scores = _scores("ours")
    items = scores.items.with_columns(seconds=pl.lit(2.0))
    lost = {"DNSMOS": ["i1: it is too short", "i7: it is too short"]}
    partly = replace(scores, items=items, unmeasured=lost)
    [row] = _frame(_rows(partly)).filter(block="measured").iter_rows(named=True)
    said = f"DNSMOS has no value of 2 of {ITEMS} speeches: 2 × it is too short (first: i1)"
    assert said in row["note"].split("\n")
    refuse_unmeasured("trial", [partly])
    wholly = replace(partly, unmeasured={"DNSMOS": ["it is too short"] * ITEMS})
    with pytest.raises(RunFailed, match="trial: DNSMOS has no value of ours: it is too short"):
        refuse_unmeasured("trial", [wholly])


def test_units_are_named_where_scores_have_one() -> None:
    frame = _frame(_rows(_scores("ours")))
    legend = (("B4", "my BLEU", "points"), ("X", "not shown", "m"))
    texts = [note.text for note in notes(frame, "table1", replace(PROTOCOL, legend=legend))]
    assert any("B4 is my BLEU in points." in text for text in texts)
    assert any("in percent where no other unit is named." in text for text in texts)


def test_nothing_transcribed_is_no_measurement() -> None:
    dead, alive, other = _scores("dead", ITEMS), _scores("alive"), _scores("other", seed=1)
    rows = _rows(dead, alive, other)
    assert [ranked(row) for row in rows] == [False, True, True]
    assert base_of(rows[1], [row for row in rows if ranked(row)]) is rows[1]
    frame = _frame(rows).filter(block="measured")
    assert frame["grade"].to_list() == ["-", "✓", "✓"]
    assert (frame["C"][0], frame["C_low"][0]) == (None, None)
    assert frame["best"][0].to_list() == []
    assert frame["significant"][0].to_list() == []
    assert f"Nothing was transcribed: {ITEMS} of {ITEMS} items failed" in frame["reason"][0]
    # The other rows are graded against the first that measured anything.
    said = " ".join(_said(_frame(rows)))
    assert f"Nothing was transcribed: {ITEMS} of {ITEMS} items failed (dead)." in said
    assert f"{ITEMS} × no such file (first: i0.wav)" in said


def test_a_floor_needs_every_item_and_a_system_one() -> None:
    floor = SilenceSystem(kind="silence")
    frame = _frame(
        _rows(
            _scores("floor", 1, system=floor),
            _scores("whole floor", system=SilenceSystem(kind="silence", seconds=2)),
            _scores("failed some", ITEMS - 1),
            _scores("lost some", 1, cause="machine", seed=2),
            _scores("all good", seed=1),
        )
    ).filter(block="measured")
    assert frame["grade"].to_list() == ["-", "✓", "✓", "≈", "✓"]
    lost = "Items lost to processes that died, so run the job again: 1 of 40"
    assert frame["reason"][3] == lost
    assert frame["best"][3].to_list() == []


def test_all_seeds_of_a_row_are_told() -> None:
    one, two = _scores("seeds", 1), _scores("seeds", 2)
    (row,) = _rows(one, two)
    frame = _frame([row]).filter(block="measured")
    assert (frame["failed"][0], row.asked) == (3, 2 * ITEMS)
    assert "3 × no such file" in frame["note"][0]


def test_scores_of_what_follows_a_prompt_are_explained() -> None:
    whole = _scores("ours")
    rest = replace(whole, cell=replace(whole.cell, part="continuation", transcript_key="rest"))
    explained = [
        any(text.startswith("Rows called continuation only ") for text in _said(_frame(rows)))
        for rows in (_rows(whole), _rows(whole, rest))
    ]
    assert explained == [False, True]


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
        found = _scores(label)
        tokens = pl.Series("tokens", [f"words of {n}" for n in found.items["item"]])
        cell = replace(found.cell, trained_on=learnt)
        scores.append(replace(found, cell=cell, items=found.items.with_columns(tokens)))
    rows = _rows(*scores)
    above = scores_above_chance(rows, "scenes", cast(Scorer, _Counting(scores[1], blind)))
    assert list(above) == [scores[1].cell.name]
    options = {"asr": "tiny.en", "run": "trial", "tests": PairTests(DRAWN), "above_chance": above}
    ours, theirs = comparison(rows, "table1", PROTOCOL, **options)[-2:].to_dicts()
    assert ours["training"] == "unknown"
    assert theirs["training"] == "unknown, trained on coco and flickr8k"
    told, _, where = theirs["note"].rpartition(": ")
    assert told.startswith("Scores above the chance level (the same transcripts assigned to other")
    assert where == "none" if blind else "CIDEr" in where
    assert ours["note"] == ""


def test_failures_are_shares_of_all_items_of_a_row() -> None:
    halves = [_scores("seeds"), _scores("seeds")]
    halves[0] = replace(halves[0], kinds=halves[0].kinds | {"looping": 0.5, "failed": 0.5})
    frame = failures(_rows(*halves, _scores("other")))
    assert frame.select("system", "n", "looping", "silent").rows() == [("seeds", 2 * ITEMS, 25, 0)]
    assert "failed" not in frame.columns


def test_a_table_without_measured_rows_is_none() -> None:
    rows = _rows(_scores("one"))
    assert _frame(rows, "table2").is_empty()
    prompted = _rows(_scores("one", prompt=0.5))
    assert _frame(prompted, "table1").is_empty()


def test_reasons_are_counted_by_what_they_say() -> None:
    told = [f"{n}.wav: no such file" for n in range(985)] + ["ValueError: x"] * 2 + ["a", "b", None]
    assert taxonomy.reasons(pl.Series(told)) == [
        "985 × no such file (first: 0.wav)",
        "2 × ValueError: x",
        "1 × a",
        "2 other reasons",
    ]
    assert taxonomy.reasons(pl.Series([], dtype=pl.String)) == []


def test_a_plot_is_the_same_bytes_whatever_a_label_holds(tmp_path: Path) -> None:
    label = "_50% of $x\x1b[2J and $\\frac{"
    speaker = {"kind": "pixvox", "label": label, "weights": "zoo:pixvox-tiny-delay"}
    scores = []
    for number, guidance in enumerate((1, 1.5, 2)):
        system = PixVoxSystem.model_construct(**speaker, decoding=DecodingSpec(guidance=guidance))
        found = _scores(label, system=system, seed=number)
        cell = replace(found.cell, speech_key=f"s{number}", transcript_key=f"h{number}")
        scores.append(replace(found, cell=cell))
    rows = _rows(*scores)
    found = points(rows, marked(rows, rows[0], PairTests(DRAWN)))
    assert choices(found) == ["guidance"]
    # One point of each score is the best, and it is like itself.
    assert found.filter("best")["metric"].to_list() == [s.name for s in rows[0].counted.scores]
    assert found.filter("best")["alike"].all()
    for name in ("a.svg", "b.svg", "a.docx"):
        figure = sweep_figure(found)
        assert figure is not None
        if name == "a.docx":
            with pytest.raises(UserError, match="not a format of figures"):
                save_figure(figure, tmp_path / name)
        else:
            save_figure(figure, tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_value_for_each_codebook_is_another_point_of_a_sweep() -> None:
    speaker = {"kind": "pixvox", "label": "x", "weights": "zoo:pixvox-tiny-delay"}
    scores = []
    for number, guidance in enumerate((2, [2, 1, 1, 1])):
        system = PixVoxSystem.model_validate(speaker | {"decoding": {"guidance": guidance}})
        found = _scores("x", system=system, seed=number)
        cell = replace(found.cell, speech_key=f"s{number}", transcript_key=f"h{number}")
        scores.append(replace(found, cell=cell))
    points = pivot(tidy(scores))
    assert points["per_codebook"].to_list() == [None, "guidance 2 1 1 1"]
    assert points["seeds"].to_list() == [1, 1]


def test_what_is_ranked_by_each_asr_was_transcribed() -> None:
    cells = [_scores("dead", ITEMS), _scores("alive", seed=1)]
    frame = pl.concat([tidy(cells), tidy(cells).with_columns(normaliser=pl.lit("whisper"))])
    found = _sensitivity(frame, cells)
    assert set(found["system"]) == {"alive"}


def _sensitivity(frame: pl.DataFrame, scores: Sequence[CellScores]) -> pl.DataFrame:
    cells = [one.cell for one in scores]
    assert cells[0].asr is not None
    return sensitivity(frame, cells, asr=cells[0].asr.label, normaliser="none")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(("x", "y")),
            st.sampled_from((1.0, 1.5, 2.0, (2.0, 1.0, 1.0, 1.0), 2.0000001)),
            st.sampled_from((0.3, 0.5)),
            st.integers(0, 2),
        ),
        min_size=1,
        max_size=6,
        unique=True,
    )
)
def test_cells_have_one_name_each_but_for_seeds(places: list[tuple[str, Any, float, int]]) -> None:
    speaker = {"kind": "pixvox", "weights": "zoo:pixvox-tiny-delay"}
    cells = []
    for number, (label, guidance, temperature, seed) in enumerate(places):
        decoding = {"guidance": guidance, "temperature": temperature, "seed": seed}
        system = PixVoxSystem.model_validate(speaker | {"label": label, "decoding": decoding})
        cell = _scores(label, system=system).cell
        cells.append(replace(cell, speech_key=f"s{number}", transcript_key=f"t{number}"))
    names = list(names_without_seed(cells).values())
    pairs = list(zip([place[:3] for place in places], names, strict=True))
    for one, name in pairs:
        assert all((one == other) == (name == its) for other, its in pairs)
        assert name.split(", ")[0] == one[0]
        # An axis on which no cell of the label differs is not in its name.
        alike = [other for other, _ in pairs if other[0] == one[0]]
        assert ("temperature" in name) == (len({other[2] for other in alike}) > 1)


def test_two_guidances_are_two_rows_of_an_audit_and_of_sensitivity() -> None:
    speaker = {"kind": "pixvox", "label": "x", "weights": "zoo:pixvox-tiny-delay"}
    scores = []
    asrs = [DEFAULT, DEFAULT.model_copy(update={"model": "base"})]
    for number, (guidance, asr) in enumerate(product((1, 2), asrs)):
        system = PixVoxSystem.model_validate(speaker | {"decoding": {"guidance": guidance}})
        found = _scores("x", system=system, seed=number)
        keys = {"speech_key": f"s{guidance}", "transcript_key": f"t{number}"}
        score = leading(found.counted.scores).name
        texts = {"transcript": "a dog", "tokens": "a dog", score: 1.0}
        items = found.items.with_columns(pl.lit(value).alias(name) for name, value in texts.items())
        cell = replace(found.cell, asr=asr, **keys)
        scores.append(replace(found, cell=cell, items=items))
    table = summary(audited(scores, asrs))
    assert table["system"].to_list() == ["x, guidance 1", "x, guidance 2"]
    found = sensitivity(
        tidy(scores), [s.cell for s in scores], asr=asrs[0].label, normaliser="none"
    )
    keys = found.select("system", "prompt", "metric", "asr", "normaliser")
    assert keys.is_unique().all()
    assert set(found["system"]) == {"x, guidance 1", "x, guidance 2"}
