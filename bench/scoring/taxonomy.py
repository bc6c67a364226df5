"""How speech fails, item by item: the kinds that a mean of scores hides."""

import re
import unicodedata

import polars as pl

SILENT_PEAK = 0.001
"""-60 dB full scale: nothing audible."""
LOOP = re.compile(r"(?<!\S)(\S+(?: \S+){0,4})(?: \1(?!\S)){2,}")
"""One to five words said at least three times in a row."""
LOOP_COMPRESSION = 2.4
"""Whisper's own bound for text that repeats itself (Radford et al. 2022, section 4.5)."""
NO_SPEECH, NO_SPEECH_LOGPROB = 0.6, -1.0
"""Whisper's own gate for words transcribed where nobody speaks (the same section)."""
WORDS_A_SECOND = 6.0
"""More words than anybody says in a second: a tail that was transcribed and not said."""
TRUNCATED = 0.5
"""A speech that has less than this share of its shortest reference's words was cut off."""

KINDS = {
    "failed": "There is no transcript: speech is missing, or could not be transcribed.",
    "silent": "The loudest sample is below −60 dB.",
    "no end of speech": "The model reached its length limit.",
    "empty transcript": "Nothing was transcribed.",
    "looping": "One to five words stand three times in a row, or the text compresses more than 2.4 "
    "times.",
    "hallucinated": "There are words where Whisper's own gate finds no speech, in silence, or more "
    "than six a second.",
    "truncated": "The speech ended with less than half of its shortest reference's words.",
}
"""Every kind, and when an item is of it."""


class _Separators(dict[int, str | int]):
    """For `str.translate`: letters, digits and their marks stay, all else parts words.

    An apostrophe stays too, for it stands inside of words.
    """

    def __missing__(self, code: int) -> str | int:
        is_inside = unicodedata.category(chr(code))[0] in "LMN" or chr(code) in "'’"
        return self.setdefault(code, code if is_inside else " ")


_SEPARATORS = _Separators()
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
"""Commas within a number, as in 1,000,000,000, which is no loop."""


def plain_text(text: str) -> str:
    """A text's words, in lower case, with a space between; "" for one without letters and digits.

    Digits are words, for an ASR writes numbers so; so are the letters of every alphabet.
    """
    words = _THOUSANDS.sub("", text.lower()).translate(_SEPARATORS).split()
    return " ".join(word for word in words if word.strip("'’"))


def kinds(table: pl.DataFrame, shortest: pl.Series) -> pl.DataFrame:
    """Returns a column of booleans for each kind of failure; an item may be of several kinds.

    `shortest` is how many words each item's shortest reference has.
    """
    text = pl.Series([plain_text(t or "") for t in table["transcript"]], dtype=pl.String)
    count = pl.Series([len(t.split()) for t in text], dtype=pl.Int64)
    transcribed = table["status"] == "ok"
    loops = pl.Series([bool(LOOP.search(t)) for t in text], dtype=pl.Boolean)
    compressed = (table["compression_ratio"].fill_nan(0) > LOOP_COMPRESSION).fill_null(False)
    gated = (table["no_speech_prob"].fill_nan(0) > NO_SPEECH) & (
        table["avg_logprob"].fill_nan(0) < NO_SPEECH_LOGPROB
    )
    silent = table["peak"] < SILENT_PEAK
    crowded = count > WORDS_A_SECOND * table["seconds"]
    generated = table["seconds"] > 0
    ended = table["ended"].fill_null(True)
    return pl.DataFrame(
        {
            "failed": ~transcribed,
            "silent": transcribed & generated & silent,
            "no end of speech": transcribed & ~ended,
            "empty transcript": transcribed & (count == 0),
            "looping": transcribed & (loops | compressed),
            "hallucinated": transcribed & generated & (count > 0) & (gated | silent | crowded),
            "truncated": transcribed & ended & (count > 0) & (count < TRUNCATED * shortest),
        }
    )


def shares(flags: pl.DataFrame) -> dict[str, float]:
    """Returns the share of items of each kind, 0 to 1, from the columns of `kinds`."""
    return {name: float(flags[name].mean() or 0.0) for name in KINDS}  # type: ignore[arg-type]


def reasons(failed: pl.Series, most: int = 3) -> list[str]:
    """Returns a line for each of the `most` frequent reasons of failed rows, and one for the rest.

    Reasons that differ only in the name they begin with, such as a file's, are counted as one.
    """
    # A name ends at the first ": ".
    failures = pl.DataFrame({"reason": failed.fill_null("no row")}).with_columns(
        what=pl.col("reason").str.replace(r"^\S.*?: ", ""),
    )
    kinds = (
        failures.sort("reason")
        .group_by("what", maintain_order=True)
        .agg(pl.len(), pl.col("reason").n_unique(), first=pl.col("reason").first())
        .sort("len", "what", descending=[True, False])
    )
    lines = [
        f"{row['len']} × {row['first']}"
        if row["reason"] == 1
        else f"{row['len']} × {row['what']} (first: {row['first'].removesuffix(row['what'])[:-2]})"
        for row in kinds.head(most).iter_rows(named=True)
    ]
    return lines + ([f"{kinds.height - most} other reasons"] if kinds.height > most else [])
