"""What README and docs show of results' tables is what the committed tables say."""

from pathlib import Path

import pytest

from tests.evidence.excerpts import filled, pages


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_excerpts_are_those_of_the_committed_tables(page: Path) -> None:
    text = page.read_text()
    assert filled(text) == text, "run python -m tests.evidence.excerpts"


def test_an_excerpt_of_a_row_that_is_not_there_is_refused() -> None:
    keys = "of: results/flickr8k/tables/table1-all.md\ncolumns: {system: system}\nwithout: [nobody]"
    page = f"<!-- excerpt\n{keys}\n-->\n\n"
    with pytest.raises(ValueError, match="nobody"):
        filled(page)
