"""Word error rate by jiwer, against the caption that was spoken."""

from collections.abc import Sequence

import numpy as np

from bench.metrics.normalise import english
from bench.metrics.types import Array

NAME = "WER"
WIDTH = 2
"""Edits, and words of the reference."""


def wer_statistics(spoken: Sequence[str], transcripts: Sequence[str]) -> Array:
    """Statistics of every item, `[n, 2]`; both sides through Whisper's English normaliser."""
    import jiwer

    clean = english()
    rows = []
    for said, heard in zip(spoken, transcripts, strict=True):
        reference, hypothesis = clean(said), clean(heard)
        if not reference.strip():
            # jiwer refuses a reference without words: whatever was heard is then inserted.
            rows.append((len(hypothesis.split()), 0))
            continue
        found = jiwer.process_words(reference, hypothesis)
        edits = found.substitutions + found.deletions + found.insertions
        rows.append((edits, found.hits + found.substitutions + found.deletions))
    return np.array(rows, dtype=np.float64).reshape(-1, WIDTH)


def wer(sums: Array) -> dict[str, Array]:
    """The rate in percent from statistics summed over items, `[..., 2]`."""
    return {NAME: 100 * sums[..., 0] / np.maximum(sums[..., 1], 1)}
