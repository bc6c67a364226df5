"""METEOR's paraphrase table, reduced to the entries that a set of references can match."""

import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl

from bench.common.atomic import write_bytes
from bench.common.errors import RunFailed
from bench.metrics.base import References

_LONGEST = 7
"""Words of the longest phrase in the table."""
_DOTTED = re.compile(r"[^\W_]+(?:\.[^\W_]*)*")
_CHUNK = 1 << 22
"""Packed bytes that are searched at once; the whole table has 62 million."""


def _undotted(token: str) -> list[str]:
    """Returns the words of a text without spaces: an abbreviation such as "u.s." is one word."""
    abbreviation = token.endswith(".") and "." in token[:-1]
    return [token.replace(".", "")] if abbreviation else [w for w in token.split(".") if w]


def phrases(references: References) -> set[str]:
    """Returns every run of up to seven words that METEOR's normaliser may make of the references.

    METEOR's handling of punctuation is not reproduced. Words are taken as they are, without
    characters that are not letters or digits, and split at those; and abbreviations such as "u.s."
    as one word of letters.
    """
    spans: set[str] = set()
    for text in {text for texts in references.values() for text in texts}:
        lower = text.lower()
        raw = lower.split()
        bare = [re.sub(r"[\W_]+", "", word) for word in raw]
        # Most of these are equal for most texts.
        for words in {
            tuple(raw),
            tuple(word for word in bare if word),
            tuple(re.findall(r"[^\W_]+", lower)),
            tuple(re.findall(r"[^\W_]+|[^\w\s]", lower)),
            tuple(word for token in _DOTTED.findall(lower) for word in _undotted(token)),
        }:
            for start in range(len(words)):
                for end in range(start + 1, min(start + _LONGEST, len(words)) + 1):
                    spans.add(" ".join(words[start:end]))
    return spans


def _unpacked(table: Path) -> Iterator[bytes]:
    """Yields the table's text; the next piece is unpacked while the current one is searched."""
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    with table.open("rb") as stream, ThreadPoolExecutor(1) as thread:
        following = thread.submit(unpacking.decompress, stream.read(_CHUNK))
        while text := following.result():
            following = thread.submit(unpacking.decompress, stream.read(_CHUNK))
            yield text
    if not unpacking.eof:
        raise EOFError("the file is truncated")


def _entries(table: Path) -> Iterator[pl.Series]:
    """Yields some megabytes of the table's lines: an entry is a probability and two phrases."""
    left = b""
    for text in _unpacked(table):
        whole, newline, rest = (left + text).rpartition(b"\n")
        lines = pl.read_csv(
            io.BytesIO(whole + newline),
            has_header=False,
            separator="\x01",
            quote_char=None,
            schema={"line": pl.String},
        )["line"]
        count = len(lines) - len(lines) % 3
        yield lines[:count]
        left = "".join(f"{line}\n" for line in lines[count:]).encode() + rest
    if left:
        raise EOFError("the file is truncated")


def _matching(lines: pl.Series, wanted: pl.Series) -> list[str]:
    """Returns the lines of entries that have a wanted phrase."""
    known = lines.is_in(wanted).fill_null(False)
    chosen = known.gather_every(3, 1) | known.gather_every(3, 2)
    matching: list[str] = lines.filter(pl.Series(np.repeat(chosen.to_numpy(), 3))).to_list()
    return matching


def cut_down(table: Path, references: References) -> str:
    """Returns the entries of a table that have a phrase of the references.

    Scores are the same as with the whole table, and loading takes a tenth of the time. Raises
    RunFailed for a table that cannot be read.
    """
    wanted = pl.Series(list(phrases(references)), dtype=pl.String).implode()
    try:
        matching = [_matching(lines, wanted) for lines in _entries(table)]
    except (OSError, EOFError, zlib.error, pl.exceptions.PolarsError) as error:
        raise RunFailed(f"{table.name}: METEOR's paraphrases cannot be read: {error}") from error
    return "".join(f"{line}\n" for lines in matching for line in lines)


def paraphrases(table: Path, references: References, folder: Path) -> Path:
    """Returns that part of a table as a file in `folder`, which is written once."""
    text = "\n".join(sorted({text for texts in references.values() for text in texts}))
    part = folder / f"paraphrases-{hashlib.sha256(text.encode()).hexdigest()[:16]}.gz"
    if not part.exists():
        write_bytes(part, gzip.compress(cut_down(table, references).encode(), 1, mtime=0))
    return part
