"""Vectors of texts, pictures and voices that do not depend on what else is computed, and are kept
in a file."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from bench.common.atomic import parquet, write_bytes

Vectors = npt.NDArray[np.float32]
BATCH = 16


class VectorFile:
    """Vectors by a key; what is known is not computed again.

    They are read from `file` where it is there; `save` writes them to it. It may be thrown away.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._vectors = _saved(file)
        self._saved = len(self._vectors)

    def of(
        self, keys: Sequence[str], compute: Callable[[Sequence[str]], Mapping[str, Vectors]]
    ) -> Vectors:
        """The vectors of keys `[n, size]`; `compute` gives those of the unknown ones, sorted."""
        if new := sorted(set(keys) - self._vectors.keys()):
            self._vectors |= compute(new)
        return np.stack([self._vectors[key] for key in keys])

    def save(self) -> None:
        """Writes all vectors to the file, where it lacks any."""
        if self._file is None or len(self._vectors) == self._saved:
            return
        columns = {"text": list(self._vectors), "vector": np.stack(list(self._vectors.values()))}
        write_bytes(self._file, parquet(pl.DataFrame(columns)))
        self._saved = len(self._vectors)


def _saved(file: Path | None) -> dict[str, Vectors]:
    """The vectors in a file, by key; nothing where it cannot be read."""
    if file is None or not file.is_file():
        return {}
    try:
        frame = pl.read_parquet(file)
        return dict(zip(frame["text"], frame["vector"].to_numpy(), strict=True))
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        # It can be thrown away, and so can a damaged one.
        return {}


def by_length(
    ids: Mapping[str, Sequence[int]], compute: Callable[[Sequence[Sequence[int]]], Vectors]
) -> dict[str, Vectors]:
    """Each text's vector, whatever it is computed beside; `ids` are the texts' tokens.

    `compute` gives the vectors `[BATCH, size]` of texts of one length. A batch is filled up with
    its first: of other shapes, matrix products may round otherwise.
    """
    groups: dict[int, list[str]] = defaultdict(list)
    for text, tokens in ids.items():
        groups[len(tokens)].append(text)
    vectors: dict[str, Vectors] = {}
    for group in groups.values():
        for start in range(0, len(group), BATCH):
            batch = group[start : start + BATCH]
            filled = [ids[text] for text in batch + batch[:1] * (BATCH - len(batch))]
            vectors |= dict(zip(batch, compute(filled), strict=False))
    return vectors
