"""docs/reference.md is up to date, and every key has a meaning."""

from pathlib import Path

from bench.commands.reference import COMMAND, lacking, reference

PATH = Path(__file__).parents[2] / "docs" / "reference.md"


def test_the_reference_is_up_to_date() -> None:
    written = PATH.read_text(encoding="utf-8") if PATH.exists() else ""
    # Not asserted on the texts, whose difference would fill the screen.
    stale = written != reference()
    assert not stale, f"docs/reference.md is stale; run: {COMMAND}"


def test_every_key_has_a_meaning() -> None:
    assert lacking() == [], "write a docstring after each of these fields"
