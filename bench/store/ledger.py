"""The durable store of a run's rows, as Parquet parts that are written atomically.

A part is written to a temporary file, synced, and renamed to a name that contains its digest; its
metadata hold its stage and key. A part whose content does not match its name or its place is
damaged: a driver renames it, and its rows are computed again. A run is resumed from the ledger
alone; tables and pages are derived from it and can be deleted.

A driver joins many small parts into a larger one. It removes the small ones after it has written
the large one, so a row may exist twice for a while; readers use one of them (see `final`).
"""

import hashlib
import io
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from bench.common.atomic import parquet, write_bytes
from bench.common.errors import UserError
from bench.common.lock import Lock, locked

STAGES = ("generated", "transcribed", "measured")
PART = re.compile(r"part-([0-9a-f]{32})\.parquet")
_BELONGS = "pixvox.part"
"""The key of a part's metadata that holds its stage and key."""
_JOINED = 256
"""Frames that are concatenated at once when rows are read."""
_SMALL, _FEW = 512, 64
"""A part with fewer rows than _SMALL is small; _FEW small parts are joined."""
_FRESH = 4096
"""At most this many small parts are kept in memory, so that joining need not read them."""
_WHOLE = 4096
"""The most rows of a joined part, and so the most that a damaged file can lose."""
_ENOUGH = _WHOLE // 2
"""A part with this many rows is not joined again: two of them may have more than _WHOLE rows."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One file of a ledger: its rows, or why it is damaged."""

    path: Path
    bytes: int
    rows: pl.DataFrame | None
    fault: str = ""
    schema: pl.Schema | None = None


def read_part(
    path: Path, stage: str, key: str, columns: Sequence[str] | None = None
) -> Part | None:
    """Reads a file of the ledger, or its named columns; None if it was removed meanwhile."""
    try:
        # Only a plain file is opened: opening a pipe would block.
        if not stat.S_ISREG(path.lstat().st_mode):
            return Part(path=path, bytes=0, rows=None, fault="is no file")
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if f"part-{hashlib.sha256(data).hexdigest()[:32]}.parquet" != path.name:
        return Part(
            path=path,
            bytes=len(data),
            rows=None,
            fault="its bytes are not those that its name promises",
        )
    if not (data.startswith(b"PAR1") and data.endswith(b"PAR1")):
        return Part(path=path, bytes=len(data), rows=None, fault="is no Parquet file")
    try:
        belongs = pl.read_parquet_metadata(io.BytesIO(data)).get(_BELONGS, "")
        if belongs != f"{stage}/{key}":
            return Part(
                path=path, bytes=len(data), rows=None, fault=f"belongs to {belongs or 'no ledger'}"
            )
        schema = pl.read_parquet_schema(io.BytesIO(data))
        chosen = [name for name in columns or schema if name in schema]
        rows = pl.read_parquet(io.BytesIO(data), columns=chosen)
        return Part(path=path, bytes=len(data), rows=rows, schema=pl.Schema(schema))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError):
        return Part(path=path, bytes=len(data), rows=None, fault="is no whole Parquet file")


def final(rows: pl.DataFrame) -> pl.DataFrame:
    """Returns one row an item, sorted by item; a machine's failure only if it is the only row."""
    ordered = rows.sort("item", pl.col("cause") == "machine", maintain_order=True)
    return ordered.unique("item", keep="first", maintain_order=True)


class Ledger:
    """The rows of one run, by stage and key. Reading changes nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged: dict[Path, str] = {}
        self._lock: Lock | None = None
        self._rows_of: dict[tuple[str, str], dict[Path, int]] = {}
        self._fresh: dict[Path, pl.DataFrame] = {}

    def _parts(self, stage: str, key: str) -> Path:
        return self.folder / stage / key

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Locks the ledger for this driver; raises as `locked`."""
        with locked(self.folder) as self._lock:
            try:
                yield
            finally:
                self._lock = None

    def append(self, stage: str, key: str, rows: pl.DataFrame) -> None:
        """Commits rows as one part; raises RunFailed where the ledger's folder was removed."""
        if self._lock is not None:
            self._lock.check()
        known = self._rows_of.setdefault((stage, key), {})
        path = self._write(stage, key, rows)
        known[path] = rows.height
        if self._lock is not None:
            if rows.height < _SMALL:
                self._fresh[path] = rows
            if len(self._fresh) > _FRESH:
                self._fresh.pop(next(iter(self._fresh)))
            self._join(stage, key, [p for p, n in known.items() if n < _SMALL], _FEW)
            middle = [p for p, n in known.items() if _SMALL <= n < _ENOUGH]
            self._join(stage, key, middle, _WHOLE // _SMALL)

    def _write(self, stage: str, key: str, rows: pl.DataFrame) -> Path:
        data = parquet(rows, {_BELONGS: f"{stage}/{key}"})
        name = f"part-{hashlib.sha256(data).hexdigest()[:32]}.parquet"
        path = self._parts(stage, key) / name
        write_bytes(path, data, durable=True)
        return path

    def _join(self, stage: str, key: str, paths: Sequence[Path], least: int) -> None:
        """Joins at least `least` parts into parts of at most the largest size, in their order."""
        if len(paths) < least:
            return
        known = self._rows_of[stage, key]
        group: list[Path] = []
        for path in [*paths, None]:
            if path is None or sum(known[p] for p in [*group, path]) > _WHOLE:
                if len(group) > 1:
                    self._replace(stage, key, group)
                group = []
            if path is not None:
                group.append(path)

    def _replace(self, stage: str, key: str, paths: Sequence[Path]) -> None:
        known, frames = self._rows_of[stage, key], dict[Path, pl.DataFrame]()
        for path in paths:
            rows = self._fresh.pop(path, None)
            if rows is None:
                part = read_part(path, stage, key)
                rows = part.rows if part is not None else None
            if rows is None:
                # A damaged part stays as it is, and the next reader reports it.
                known.pop(path)
            else:
                frames[path] = rows
        if len(frames) < 2:
            return
        whole = pl.concat(frames.values(), rechunk=True)
        joined = self._write(stage, key, whole)
        for path in frames:
            known.pop(path)
            if path != joined:
                path.unlink(missing_ok=True)
        known[joined] = whole.height

    def names(self, stage: str, key: str) -> list[Path]:
        """Returns the paths of all files with the name of a part, sorted."""
        try:
            with os.scandir(self._parts(stage, key)) as entries:
                return sorted(Path(entry.path) for entry in entries if PART.fullmatch(entry.name))
        except FileNotFoundError:
            return []

    def parts(self, stage: str, key: str, schema: dict[str, Any]) -> Iterator[pl.DataFrame]:
        """Yields the committed parts; damaged ones are left out and added to `damaged`.

        Rows may come twice while parts are being joined. Raises UserError for a part with other
        columns, which another version wrote.
        """
        for part in self._read(stage, key, schema):
            assert part.rows is not None
            yield part.rows

    def _read(
        self, stage: str, key: str, schema: dict[str, Any], columns: Sequence[str] | None = None
    ) -> Iterator[Part]:
        read_paths: set[Path] = set()
        again = True
        while again:
            again = False
            for path in self.names(stage, key):
                if path in read_paths:
                    continue
                read_paths.add(path)
                part = read_part(path, stage, key, columns)
                if part is None:
                    # Another process has joined it with others, so its rows are in a new part.
                    again = True
                elif part.rows is None:
                    self.damaged[path] = part.fault
                elif part.schema != pl.Schema(schema):
                    raise UserError(f"{path}: was written by another version; move the run away")
                else:
                    yield part

    def set_aside(self) -> None:
        """Renames damaged parts, so that their rows are generated or transcribed again."""
        for path in self.damaged:
            path.replace(path.with_suffix(".damaged"))
        self.damaged = {}

    def rows(self, stage: str, key: str, schema: dict[str, Any]) -> pl.DataFrame:
        """Returns all committed rows, one an item (see `final`)."""
        joined = [pl.DataFrame(schema=schema)]
        small: list[pl.DataFrame] = []
        # A frame of a few rows takes kilobytes, so frames are concatenated on the way.
        for part in self.parts(stage, key, schema):
            small.append(part)
            if len(small) == _JOINED:
                joined.append(pl.concat(small, rechunk=True))
                small = []
        return final(pl.concat([*joined, *small]))

    def final(self, stage: str, key: str, schema: dict[str, Any]) -> Iterator[str]:
        """Yields the items whose row is final: completed, or failed not because of the machine."""
        known = self._rows_of[stage, key] = {}
        for part in self._read(stage, key, schema, ("item", "cause")):
            assert part.rows is not None
            known[part.path] = part.rows.height
            yield from part.rows.filter(pl.col("cause") != "machine")["item"]
