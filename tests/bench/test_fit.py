"""What is printed is wrapped, cut in pieces or printed wide, and loses nothing."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from bench.report import terminal
from bench.report.fit import numbers, pieces, rich_table, texts, wrapped

NAMES = (
    "PixVoxLM-tiny-Parallel, continuation only",
    "x" * 60,
    "猫の写真を説明するシステムの名前はとても長いので折り返します",
    "ours 🐶🐱 with-a-hyphenated/path_like.name:and+more",
    "short",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [1, 7, 12, 30])
def test_wrapping_loses_nothing(name: str, width: int) -> None:
    lines = wrapped(name, width)
    assert "".join(lines).replace(" ", "") == name.replace(" ", "")
    assert all(cell_len(line) <= max(width, 2) for line in lines)


def test_what_cannot_be_narrow_is_printed_wide(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    heads = [f"number {n}" for n in range(9)]
    table = terminal.Listing(["run", *heads], ["run"], "of some runs")
    table.add_row("a-name-of-more-than-twelve", *range(1_000_000, 1_000_009))
    table.print()
    said = capsys.readouterr().out
    assert all(str(number) in said for number in range(1_000_000, 1_000_009))
    assert all(head in said for head in heads)


def test_a_wide_frame_comes_in_pieces_with_its_names() -> None:
    columns = [texts("system", NAMES), *(numbers(f"m{n}", [1.5] * len(NAMES)) for n in range(20))]
    tables = pieces(columns, 80)
    assert [c.head for piece in tables for c in piece[1:]] == [f"m{n}" for n in range(20)]
    for piece in tables:
        assert piece[0] is columns[0]
        console = Console(width=80, file=io.StringIO())
        console.print(rich_table(piece, 80))
        assert "…" not in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("columns", "width"),
    [
        ("60", 60),
        ("200", 200),
        ("", terminal.UNCUT),
        ("0", terminal.UNCUT),
        ("x", terminal.UNCUT),
        ("²", terminal.UNCUT),
        ("3", 40),
        ("9" * 5000, 999_999),
    ],
)
def test_a_pipe_obeys_columns(columns: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert terminal.make_console().width == width
    # What is drawn for a page does not depend on who looks.
    assert terminal.make_picture(150).width == 150
