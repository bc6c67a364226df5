"""What is done, durably: rows in parts that are whole or not there.

A part is written to a temporary file, synced, and renamed to a name that holds its digest. A part
that no longer has its digest is set aside and its rows count as not done. Resuming is a question
to the ledger; tables and pages are derived from it and can be thrown away.
"""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import polars as pl

from bench.errors import UserError
from bench.lock import locked

STAGES = ("spoken", "heard")
_JOINED = 256


def is_whole(path: Path, data: bytes) -> bool:
    """Whether a part's bytes are those that its name promises."""
    return hashlib.sha256(data).hexdigest()[:32] == path.stem.removeprefix("part-")


def final(rows: pl.DataFrame) -> pl.DataFrame:
    """One row an item, sorted by item: a machine's failure only where nothing replaced it."""
    ordered = rows.sort("item", pl.col("cause") == "machine", maintain_order=True)
    return ordered.unique("item", keep="first", maintain_order=True)


class Ledger:
    """The rows of one run, by stage and key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: list[Path] = []

    def _parts(self, stage: str, key: str) -> Path:
        return self.folder / stage / key

    def lock(self) -> AbstractContextManager[None]:
        """Keeps the ledger for one driver (see locked)."""
        return locked(self.folder)

    def append(self, stage: str, key: str, rows: pl.DataFrame) -> None:
        """Commits rows as one part."""
        folder = self._parts(stage, key)
        folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        rows.write_parquet(buffer)
        data = buffer.getvalue()
        name = f"part-{hashlib.sha256(data).hexdigest()[:32]}.parquet"
        partial = folder / f".{name}.{os.getpid()}"
        with partial.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(folder / name)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def parts(self, stage: str, key: str, schema: dict[str, Any]) -> Iterator[pl.DataFrame]:
        """The committed parts, one at a time; damaged ones are set aside.

        Raises UserError for a part with other columns, which another version wrote.
        """
        for path in sorted(self._parts(stage, key).glob("part-*.parquet")):
            data = path.read_bytes()
            if not is_whole(path, data):
                path.replace(path.with_suffix(".damaged"))
                self.damaged.append(path)
                continue
            part = pl.read_parquet(io.BytesIO(data))
            if part.schema != pl.Schema(schema):
                raise UserError(f"{path}: another version wrote this; move the run away")
            yield part

    def rows(self, stage: str, key: str, schema: dict[str, Any]) -> pl.DataFrame:
        """All committed rows, one an item (see `final`)."""
        joined = [pl.DataFrame(schema=schema)]
        small: list[pl.DataFrame] = []
        # A frame of a few rows costs kilobytes, so thousands of them are not held at once.
        for part in self.parts(stage, key, schema):
            small.append(part)
            if len(small) == _JOINED:
                joined.append(pl.concat(small, rechunk=True))
                small = []
        return final(pl.concat([*joined, *small]))

    def settled(self, stage: str, key: str, schema: dict[str, Any]) -> Iterator[str]:
        """Items whose row is final: done, or failed by a fault of their own."""
        for part in self.parts(stage, key, schema):
            yield from part.filter(pl.col("cause") != "machine")["item"]
