"""Links of the docs lead somewhere, and their tables equal the committed results."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.evidence.excerpts import filled, pages
from tests.evidence.program import ROOT

LINKED = [
    *pages(),
    ROOT / "CONTRIBUTING.md",
    *(
        page
        for name in ("jobs", "pixvox", "results")
        for page in sorted((ROOT / name).rglob("*.md"))
    ),
]


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text())
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def _dead_links(page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        if "://" in target:
            continue
        file = page.parent / name if name else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in _anchors(file)):
            yield target


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_existing_files_and_headings(page: Path) -> None:
    assert list(_dead_links(page)) == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_excerpts_are_those_of_the_committed_tables(page: Path) -> None:
    text = page.read_text()
    assert filled(text) == text, "run python -m tests.evidence.excerpts"


def test_an_excerpt_of_a_missing_row_is_refused() -> None:
    keys = "of: results/flickr8k/tables/table1-all.md\ncolumns: {system: system}\nwithout: [nobody]"
    page = f"<!-- excerpt\n{keys}\n-->\n\n"
    with pytest.raises(ValueError, match="nobody"):
        filled(page)
