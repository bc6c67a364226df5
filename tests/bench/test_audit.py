"""The ASR audit: who is at fault is told by who disagrees and who scores."""

import polars as pl
import pytest

from bench.store.columns import schema
from bench.tables.audit import _fault, disagreement, survival
from bench.tables.testing import TESTS


@pytest.mark.parametrize(
    ("first", "other", "share"),
    [
        ("a dog runs", "a dog runs", 0.0),
        ("a dog runs", "brown dot runs fast", 0.75),
        ("a dog", "", 1.0),
        ("", "", 0.0),
        ("a b c d", "c d", 0.5),
    ],
)
def test_disagreement_is_edits_of_the_longer(first: str, other: str, share: float) -> None:
    assert disagreement(first, other) == disagreement(other, first) == share


@pytest.mark.parametrize(
    ("apart", "score", "other", "fault"),
    [
        (0.2, 0.0, 0.0, ""),
        (0.8, 5.0, 90.0, "asr"),
        (0.8, 90.0, 5.0, "other"),
        (0.8, 5.0, 5.0, "speech"),
        (0.8, 90.0, 90.0, ""),
    ],
)
def test_who_is_at_fault(apart: float, score: float, other: float, fault: str) -> None:
    assert _fault(apart, score, other, usual=80.0) == fault


def _tests(*rows: tuple[str, float, float]) -> pl.DataFrame:
    cells = [
        dict.fromkeys(schema(TESTS))
        | {"system": s, "against": "base", "prompt": 0.0, "metric": "CIDEr"}
        | {"difference": difference, "p_adjusted": p}
        for s, difference, p in rows
    ]
    return pl.DataFrame(cells, schema=schema(TESTS))


def test_a_conclusion_survives_where_both_say_the_same() -> None:
    own = _tests(("better", 5, 0.01), ("turned", 5, 0.01), ("gone", 5, 0.01), ("none", 1, 0.5))
    other = _tests(("better", 3, 0.04), ("turned", -5, 0.01), ("gone", 1, 0.3), ("none", -1, 0.6))
    surviving = survival(own, [("other", other)], "own", 0.05)
    survives = dict(surviving.select("system", "survives").iter_rows())
    assert survives == {"better": True, "turned": False, "gone": False, "none": True}
