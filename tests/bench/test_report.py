"""Tables: published rows stand as printed, blocks stay apart, nothing in a cell is live."""

import csv as reader
import io
import re
from dataclasses import replace

import polars as pl
import pytest

from bench.common.text import inert_markdown
from bench.report.files import csv, markdown
from bench.report.latex import latex
from bench.report.notes import notes
from bench.tables.comparability import grade_published
from bench.tables.comparison import published_frame
from bench.tables.protocol import Protocol
from bench.tables.published import HEADS, load_published

PROTOCOL = Protocol(
    dataset="scenes",
    split="test",
    dataset_digest="0" * 16,
    speech="synthetic",
    items=1,
    of=2,
    asr="tiny.en",
    references="all",
)


def _frame(system: str) -> pl.DataFrame:
    published = published_frame(load_published(), "table1", PROTOCOL, "tiny.en")
    row = published.head(1).with_columns(block=pl.lit("measured"), system=pl.lit(system))
    return pl.concat([published, row.with_columns(dataset=pl.lit("scenes"))])


def test_published_rows_are_the_papers_own() -> None:
    tables = [
        published_frame(load_published(), name, PROTOCOL, "tiny.en")
        for name in ("table1", "table2")
    ]
    rows = {row["system"]: row for row in tables[0].to_dicts()}
    # Table I of the slides, the row of the paper's best model.
    delay = [48.08, 30.59, 18.92, 11.49, 15.19, 35.76, 25.54]
    assert [rows["PixVoxLM-Delay"][name] for name in HEADS[:7]] == delay
    assert rows["SAT"]["B1"] is None
    assert "swapped" in rows["E-I2S"]["note"]
    assert {"SAT", "SAT-FT", "E-I2S", "SAS", "Im2Sp"} <= rows.keys()
    assert tables[1].height == 6
    # COCO's rows stand in COCO's table, with nothing else.
    coco = replace(PROTOCOL, dataset="coco")
    frame = published_frame(load_published(), "table1", coco, "tiny.en")
    assert frame["B4"].to_list() == [25.9, 20.1]
    assert frame["dataset"].unique().to_list() == ["coco"]


def test_each_fact_of_a_published_row_has_its_grade() -> None:
    whole = replace(PROTOCOL, dataset="flickr8k", speech="natural, many speakers", items=2)
    rows = {row.system: row for row in load_published().rows if row.dataset == "flickr8k"}
    grades = {name: grade_published(row, whole, "tiny.en") for name, row in rows.items()}
    assert {grade.mark for grade in grades.values()} == {"≈"}
    assert "ASR: one trained on reconstructed audio" in grades["SAT-FT"].reason.split("\n")
    assert "Trained on: synthesised speech" in grades["SAS"].reason
    assert "Trained on: flickr8k and coco" in grades["Im2Sp"].reason
    assert "Not stated: n, seeds, normaliser, tokeniser" in grades["PixVoxLM-Delay"].reason
    single = grade_published(rows["SAS"], replace(whole, items=1), "tiny.en")
    assert single.reason == "Published rows use all 2 test images; yours uses 1"
    others = grade_published(rows["PixVoxLM-Delay"], replace(whole, references="others"), "tiny.en")
    assert others.mark == "✗"


def test_what_a_thousand_images_do_not_tell_apart_is_said() -> None:
    said = " ".join(note.text for note in notes(_frame("ours"), "table1", PROTOCOL))
    pairs = re.search(
        r"Differences that 1000 images do not resolve \(simulated\): (.*?)\. ", said + " "
    )
    assert pairs is not None
    pairs_by_score = dict(pair.rsplit(" in ", 1) for pair in pairs[1].split("; "))
    # Delay's lead in METEOR and CIDEr is 0.69 and 1.34; each half of an interval about 0.7 and 2.7.
    assert {"M", "C"} <= set(pairs_by_score["SAT-FT and PixVoxLM-Delay"].split(", "))
    assert "SAS and PixVoxLM-Delay" not in pairs_by_score


def test_blocks_stay_apart() -> None:
    text = markdown(_frame("ours"), "table1", PROTOCOL)
    published, measured = text.split("**measured, on scenes**")
    assert "ours" not in published
    assert "| SAT |" not in measured
    assert "✗ marks rows with other images" in measured


@pytest.mark.parametrize(
    "hostile",
    ["<script>alert(1)</script>", "a | b | c", "[x](javascript:y)", "\x1b[31mred", "a\n# b"],
)
def test_hostile_text_is_inert_in_markdown(hostile: str) -> None:
    shown = inert_markdown(hostile)
    assert not any(c in shown for c in ("<", "\x1b", "\n"))
    assert "](" not in shown.replace("\\]\\(", "")
    lines = markdown(_frame(hostile), "table1", PROTOCOL).splitlines()
    # Eight published rows, one measured, a header for each block.
    assert sum(line.startswith("| ") for line in lines) == 8 + 1 + 2


@pytest.mark.parametrize("hostile", ["=1+1", "@cmd", '"quoted", text', "-2", "line\nbreak"])
def test_hostile_text_is_inert_in_csv(hostile: str) -> None:
    rows = list(reader.DictReader(io.StringIO(csv(_frame(hostile)))))
    assert len(rows) == 9
    assert rows[-1]["system"][0] not in "=+-@"
    assert rows[-1]["system"].endswith(hostile.replace("\n", " "))


def test_hostile_text_is_inert_in_latex() -> None:
    hostile = r"\input{/etc/passwd} $x$ 50% a&b #1 _ ^ ~ {"
    text = latex(_frame(hostile), "table1", PROTOCOL)
    (line,) = [line for line in text.splitlines() if "passwd" in line and " & " in line]
    assert line.startswith(
        r"$\times$ & \textbackslash{}input\{/etc/passwd\} \$x\$ 50\% a\&b \#1 \_ "
    )
    # Every row has as many cells as the table has columns, and every brace its partner.
    rows = [
        line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line
    ]
    columns = re.search(r"begin\{tabular\}\{@\{\}([lr]+)@\{\}\}", text)
    assert columns is not None
    assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {len(columns[1])}
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert text.isascii()
    # The caption stands alone; two columns of a paper hold no more than this.
    (caption,) = [line for line in text.splitlines() if line.startswith(r"\caption")]
    assert all(word in caption for word in ("Table I", "test images", "ASR: ", "in percent"))
    assert len(columns[1]) <= 13
