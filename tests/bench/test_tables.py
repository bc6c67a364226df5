"""Tables fit every width without a cut name, and their notes say each fact once."""

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from measured import ITEMS, PROTOCOL, cell_scores, notes_of, rows_of, table_frame
from rich.cells import cell_len
from rich.console import Console

from bench.jobs.tables import TABLES
from bench.report import terminal
from bench.report.fit import wrapped
from bench.report.notes import LONGEST, Note, notes
from bench.systems.silence import SilenceSystem
from bench.tables.comparison import published_frame
from bench.tables.published import load_published

NAMES = (
    "PixVoxLM-tiny-Parallel, continuation only",
    "a system that somebody has given a name of sixty letters, all",
    "x" * 60,
    "猫の写真を説明するシステムの名前はとても長いので折り返します",
    "ours 🐶🐱 with-a-hyphenated/path_like.name:and+more",
    "short",
)


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
    frame = table_frame(rows_of(*(cell_scores(name, seed=n) for n, name in enumerate(NAMES))))
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
    frame = table_frame(rows_of(cell_scores("one"), cell_scores("two", seed=1)))
    gone = []
    for width in range(200, 39, -1):
        lines = _printed(width, frame)
        text = " ".join(" ".join(lines).split())
        match = re.search(r"Left out to fit \d+ characters: ([^;]*);", text)
        names = match[1].split(", ") if match else []
        # What is left out is not shown, all else is.
        heads = next(line.split() for line in lines if line.split()[:1] == ["system"])
        assert not set(heads) & set(names)
        assert ("±" in " ".join(line for line in lines if line[:1] in "✓✗")) == ("±" not in names)
        assert {"system", "B4", "C", "n"} <= set(heads)
        assert names[: len(gone)] == gone
        gone = names  # a narrower table gives up no less
    assert gone == ["training", "B2", "B3", "B1", "±", "failed", "R", "M"][: len(gone)]
    assert gone[-1] in ("WER", "R", "M")
    assert not any("bootstrap" in text for text in notes_of(frame, ("±",)))


def test_the_only_star_is_given_up_last_and_what_all_have_is_no_mark() -> None:
    frame = table_frame(rows_of(cell_scores("one"), cell_scores("two")))
    assert all(row.is_empty() for row in frame.filter(block="measured")["best"])
    assert f"With {ITEMS} images no system differs significantly in B1" in " ".join(notes_of(frame))
    starred = frame.with_columns(significant=pl.lit(["B1", "B2"], pl.List(pl.String)))
    assert f"With {ITEMS} images no system differs significantly in B3" in " ".join(
        notes_of(starred)
    )
    assert terminal._order(starred)[-1] == ("B1",)
    assert ("B2", "B3") in terminal._order(starred)
    # A column that is never given up has a star, too.
    always = frame.with_columns(significant=pl.lit(["B1", "C"], pl.List(pl.String)))
    assert terminal._order(always) == terminal._order(frame)


def test_a_fact_is_said_once_and_briefly() -> None:
    """One note a topic, with the names of the rows that each detail is of; at most two lines."""
    rows = rows_of(*(cell_scores(name, min(n, 3), seed=n) for n, name in enumerate(NAMES)))
    said = notes_of(table_frame(rows))
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
    frame = table_frame(
        rows_of(cell_scores("A Floor", system=SilenceSystem(kind="silence")), cell_scores("x"))
    )
    said = [" ".join(notes_of(frame, left_out)) for left_out in ([], ["training"])]
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
    (first, *_) = notes_of(table_frame(rows_of(cell_scores("one"))))
    assert first.startswith("B1 to B4 are BLEU-1 to BLEU-4, M is METEOR, R is ROUGE-L, C is CIDEr")
    (first, *_) = notes_of(table_frame(rows_of(cell_scores("one"))), ("B2",))
    assert first.startswith("B1 is BLEU-1, B3 to B4 are BLEU-3 to BLEU-4, M is")


def test_a_later_table_prints_what_is_new() -> None:
    frame = table_frame(rows_of(cell_scores("one"), cell_scores("two", seed=1)))
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
    numbers = terminal.ranges([n for n in range(1, len(printed)) if n != other])
    assert f"Notes {numbers} above hold here too." in second
    assert terminal.ranges([1, 2, 3, 5, 7, 8, 9]) == "1 to 3, 5 and 7 to 9"


def test_the_committed_tables_keep_their_columns_at_their_widths() -> None:
    folder = Path(__file__).parents[2] / "results" / "scenes"
    names = [(table.name, reading) for table in TABLES for reading in ("", "-all")]
    there = [parts for parts in names if (folder / parts[0] / f"{''.join(parts)}.parquet").exists()]
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
    text = "\n".join(_printed(200, table_frame(rows_of(cell_scores(label), cell_scores("other")))))
    assert "[red]:dog: : :error: :x[/red]" in text
    assert not set("\x1b\u202e") & set(text)


def test_units_are_named_where_scores_have_one() -> None:
    frame = table_frame(rows_of(cell_scores("ours")))
    legend = (("B4", "my BLEU", "points"), ("X", "not shown", "m"))
    texts = [note.text for note in notes(frame, "table1", replace(PROTOCOL, legend=legend))]
    assert any("B4 is my BLEU in points." in text for text in texts)
    assert any("in percent where no other unit is named." in text for text in texts)


def test_scores_of_what_follows_a_prompt_are_explained() -> None:
    whole = cell_scores("ours")
    rest = replace(whole, cell=replace(whole.cell, part="continuation", transcript_key="rest"))
    explained = [
        any(
            text.startswith("Rows called continuation only ")
            for text in notes_of(table_frame(rows))
        )
        for rows in (rows_of(whole), rows_of(whole, rest))
    ]
    assert explained == [False, True]
