"""What is done, durably: rows in parts that are whole or not there.

A part is written to a temporary file, synced, and renamed to a name that holds its digest; it says
itself which stage and key it belongs to. A part that is not what its name and place promise is
damaged: a driver sets it aside, and its rows count as not done. Resuming is a question to the
ledger; tables and pages are derived from it and can be thrown away.
"""

import hashlib
import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from bench.common.atomic import parquet, write_bytes
from bench.common.errors import UserError
from bench.common.lock import Lock, locked

STAGES = ("generated", "transcribed")
PART = re.compile(r"part-([0-9a-f]{32})\.parquet")
_BELONGS = "pixvox.part"
"""What a part's own metadata call its stage and key."""
_JOINED = 256


@dataclass(frozen=True)
class Part:
    """One file of a ledger: its rows, or why it is damaged."""

    path: Path
    bytes: int
    rows: pl.DataFrame | None
    fault: str = ""


def read_part(path: Path, stage: str, key: str) -> Part | None:
    """Reads a part and changes nothing; None where a driver has just set it aside."""
    try:
        # Whatever has the name of a part is opened only where opening it cannot wait.
        if not stat.S_ISREG(path.lstat().st_mode):
            return Part(path, 0, None, "is no file")
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if f"part-{hashlib.sha256(data).hexdigest()[:32]}.parquet" != path.name:
        return Part(path, len(data), None, "its bytes are not those that its name promises")
    if not (data.startswith(b"PAR1") and data.endswith(b"PAR1")):
        return Part(path, len(data), None, "is no Parquet file")
    try:
        belongs = pl.read_parquet_metadata(io.BytesIO(data)).get(_BELONGS, "")
        if belongs != f"{stage}/{key}":
            return Part(path, len(data), None, f"belongs to {belongs or 'no ledger'}")
        return Part(path, len(data), pl.read_parquet(io.BytesIO(data)))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError):
        return Part(path, len(data), None, "is no whole Parquet file")


def final(rows: pl.DataFrame) -> pl.DataFrame:
    """One row an item, sorted by item: a machine's failure only where nothing replaced it."""
    ordered = rows.sort("item", pl.col("cause") == "machine", maintain_order=True)
    return ordered.unique("item", keep="first", maintain_order=True)


class Ledger:
    """The rows of one run, by stage and key. Reading changes nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: dict[Path, str] = {}
        self._lock: Lock | None = None

    def _parts(self, stage: str, key: str) -> Path:
        return self.folder / stage / key

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps the ledger for one driver (see locked)."""
        with locked(self.folder) as self._lock:
            try:
                yield
            finally:
                self._lock = None

    def append(self, stage: str, key: str, rows: pl.DataFrame) -> None:
        """Commits rows as one part; raises RunFailed where the ledger is not there any more."""
        if self._lock is not None:
            self._lock.check()
        data = parquet(rows, {_BELONGS: f"{stage}/{key}"})
        name = f"part-{hashlib.sha256(data).hexdigest()[:32]}.parquet"
        write_bytes(self._parts(stage, key) / name, data, durable=True)

    def names(self, stage: str, key: str) -> list[Path]:
        """Whatever has the name of a part, in order."""
        try:
            with os.scandir(self._parts(stage, key)) as found:
                return sorted(Path(one.path) for one in found if PART.fullmatch(one.name))
        except FileNotFoundError:
            return []

    def parts(self, stage: str, key: str, schema: dict[str, Any]) -> Iterator[pl.DataFrame]:
        """The committed parts, one at a time; the damaged ones are left out and remembered.

        Raises UserError for a part with other columns, which another version wrote.
        """
        for path in self.names(stage, key):
            part = read_part(path, stage, key)
            if part is None:
                continue
            if part.rows is None:
                self.damaged[path] = part.fault
                continue
            if part.rows.schema != pl.Schema(schema):
                raise UserError(f"{path}: another version wrote this; move the run away")
            yield part.rows

    def set_aside(self) -> None:
        """Moves damaged parts out of the way, so that their rows are made again."""
        for path in self.damaged:
            path.replace(path.with_suffix(".damaged"))
        self.damaged = {}

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

    def final(self, stage: str, key: str, schema: dict[str, Any]) -> Iterator[str]:
        """Items whose row is final: done, or failed by a fault of their own."""
        for part in self.parts(stage, key, schema):
            yield from part.filter(pl.col("cause") != "machine")["item"]
