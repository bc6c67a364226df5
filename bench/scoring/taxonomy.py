"""Kinds of failures of speech, item by item, which a mean score does not show."""

import re
import unicodedata

import polars as pl

SILENT_PEAK = 0.001
"""-60 dB full scale: inaudible."""
LOOP = re.compile(r"(?<!\S)(\S+(?: \S+){0,4})(?: \1(?!\S)){2,}")
"""One to five words, at least three times in a row."""
LOOP_COMPRESSION = 2.4
"""Whisper's own limit for text that repeats itself (Radford et al. 2022, section 4.5)."""
NO_SPEECH, NO_SPEECH_LOGPROB = 0.6, -1.0
"""Whisper's own limits for words transcribed without speech (the same section)."""
WORDS_A_SECOND = 6.0
"""A faster rate is no human speech: some words were transcribed and not spoken."""
TRUNCATED = 0.5
"""Speech with less than this share of its shortest reference's words counts as cut off."""

KINDS = {
    "failed": "There is no transcript: speech is missing, or could not be transcribed.",
    "silent": "The loudest sample is below −60 dB.",
    "no end of speech": "The model reached its length limit.",
    "empty transcript": "Nothing was transcribed.",
    "looping": "One to five words occur three times in a row, or the text compresses more than 2.4 "
    "times.",
    "hallucinated": "There are words although Whisper's own limits find no speech, in silence, "
    "or more "
    "than six a second.",
    "truncated": "The speech ended with less than half of its shortest reference's words.",
}
"""Every kind, and its definition."""


class _Separators(dict[int, str | int]):
    """For `str.translate`: keeps letters, digits and their marks, and replaces all else by spaces.

    An apostrophe is kept, because it occurs inside words.
    """

    def __missing__(self, code: int) -> str | int:
        is_inside = unicodedata.category(chr(code))[0] in "LMN" or chr(code) in "'’"
        return self.setdefault(code, code if is_inside else " ")


_SEPARATORS = _Separators()
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
"""Commas within a number, as in 1,000,000,000, which is not a loop."""


def plain_text(text: str) -> str:
    """Returns a text's words in lower case, separated by spaces; "" without letters and digits.

    Digits count as words, because an ASR writes numbers as digits; so do letters of all alphabets.
    """
    words = _THOUSANDS.sub("", text.lower()).translate(_SEPARATORS).split()
    return " ".join(word for word in words if word.strip("'’"))


def kinds(table: pl.DataFrame, shortest: pl.Series) -> pl.DataFrame:
    """Returns a column of booleans for each kind of failure; an item may have several.

    `shortest` is the number of words of each item's shortest reference.
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
    """Returns the share of items with each kind of failure, 0 to 1, from the columns of `kinds`."""
    return {name: float(flags[name].mean() or 0.0) for name in KINDS}  # type: ignore[arg-type]


def reasons(failed: pl.Series, most: int = 3) -> list[str]:
    """Returns a line for each of the `most` frequent reasons of failed rows, and one for the rest.

    Reasons that differ only in the name at their start, such as a file's, count as the same.
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
