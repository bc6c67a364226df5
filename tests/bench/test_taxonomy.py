"""Kinds of failure: what counts as a word, and which transcripts loop or lack words."""

import polars as pl
import pytest

from bench.scoring.taxonomy import kinds, plain_text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1, 2, 3.", "1 2 3"),
        ("1,000,000,000 and 5,5,5", "1000000000 and 5 5 5"),
        (". 1999, 2000, 2001.", "1999 2000 2001"),
        ("Two dogs' ball, isn't it?", "two dogs' ball isn't it"),
        ("t-shirt... £5", "t shirt 5"),
        ("Собака бежит", "собака бежит"),
        ("कुत्ता दौड़ता है।", "कुत्ता दौड़ता है"),
        ("两只狗。", "两只狗"),
        (" . ' - ♪ … ¿?", ""),
        ("", ""),
    ],
)
def test_words_are_letters_and_digits_of_any_alphabet(text: str, words: str) -> None:
    assert plain_text(text) == words


@pytest.mark.parametrize(
    ("text", "seconds", "expected"),
    [
        ("1, 2, 3, 4, 5, 6, 7, 8", 4.0, set()),
        ("5, 5, 5, 5, 5, 5, 5, 5", 4.0, {"looping"}),
        ("10 20, 10 20, 10 20.", 4.0, {"looping"}),
        ("don't don't don't", 4.0, {"looping"}),
        ("the theme of the theatre", 4.0, set()),
        ("кот кот кот", 4.0, {"looping"}),
        (" ".join(map(str, range(22))), 1.0, {"hallucinated"}),
        ("2 dogs", 1.0, set()),
        ("2", 1.0, {"truncated"}),
        ("...", 1.0, {"empty transcript"}),
    ],
)
def test_numbers_and_other_alphabets_are_judged_as_words(
    text: str, seconds: float, expected: set[str]
) -> None:
    # As CTC models have it: no probability and no compression ratio.
    table = pl.DataFrame(
        {
            "status": "ok",
            "transcript": text,
            "seconds": seconds,
            "peak": 0.5,
            "ended": True,
            "compression_ratio": float("nan"),
            "no_speech_prob": float("nan"),
            "avg_logprob": float("nan"),
        }
    )
    row = kinds(table, pl.Series([3])).row(0, named=True)
    assert {name for name, value in row.items() if value} == expected
