"""A golden: what a job's cells gave, item by item, kept to judge later versions by.

One Parquet file, never changed: its name holds its digest. A row is an item of a cell, with the
sufficient statistics of its scores, its units, and what guards look at.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.errors import UserError
from bench.ledger import Ledger
from bench.metrics.types import Array
from bench.rows import SPOKEN_SCHEMA
from bench.scoring import CellScores
from bench.signature import Signature

VERSION = 1
_SCHEMA: dict[str, Any] = {
    "cell": pl.String,
    "item": pl.String,
    "status": pl.String,
    "transcript": pl.String,
    "seconds": pl.Float64,
    "silent": pl.Boolean,
    "ended": pl.Boolean,
    "units": pl.Binary,
    "codebooks": pl.Int32,
    "values": pl.List(pl.Float64),
}


@dataclass(frozen=True)
class Golden:
    """Rows and, for every cell, its signature; `machine` names what made them."""

    job: str
    machine: str
    signatures: Mapping[str, Signature]
    rows: pl.DataFrame

    def cell(self, name: str, items: Sequence[str]) -> pl.DataFrame:
        """A cell's rows of some items, in their order; those that are missing are left out."""
        wanted = pl.DataFrame({"item": list(items)}, schema={"item": pl.String})
        return wanted.join(self.rows.filter(cell=name), on="item", how="inner")


def cell_id(found: CellScores) -> str:
    """What a cell is called across versions: its label and place in the grid, and no digest."""
    cell = found.cell
    asr = cell.asr.label if cell.asr else "text"
    seed = "" if cell.seed is None else f", seed {cell.seed}"
    return f"{cell.label} at {cell.prompt:.0%}{seed}, {cell.hear}, {asr}"


def matrix(rows: pl.DataFrame) -> Array:
    """The statistics of rows, `[n, D]`."""
    return np.array(rows["values"].to_list(), dtype=np.float64)


def gathered(job: str, machine: str, scores: Sequence[CellScores], ledger: Ledger) -> Golden:
    """The cells of a finished run."""
    frames = [pl.DataFrame(schema=_SCHEMA)]
    for found in scores:
        spoken = ledger.rows("spoken", found.cell.speech_key, SPOKEN_SCHEMA)
        units = spoken.select("item", "units", "codebooks")
        table = found.items.select("item", "status", "transcript", "seconds", "silent", "ended")
        table = table.with_columns(
            cell=pl.lit(cell_id(found)),
            values=pl.Series(found.values.tolist(), dtype=pl.List(pl.Float64)),
        )
        joined = table.join(units, on="item", how="left", maintain_order="left")
        frames.append(joined.select(*_SCHEMA))
    signatures = {cell_id(found): found.signature for found in scores}
    return Golden(job, machine, signatures, pl.concat(frames))


def write_golden(golden: Golden, folder: Path) -> Path:
    """Writes `JOB-DIGEST.parquet`; the same content gives the same file."""
    facts = {
        "version": VERSION,
        "job": golden.job,
        "machine": golden.machine,
        "signatures": {name: asdict(s) for name, s in golden.signatures.items()},
    }
    buffer = io.BytesIO()
    golden.rows.write_parquet(buffer, metadata={"golden": json.dumps(facts, sort_keys=True)})
    data = buffer.getvalue()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{golden.job}-{hashlib.sha256(data).hexdigest()[:12]}.parquet"
    partial = path.with_suffix(".part")
    partial.write_bytes(data)
    partial.replace(path)
    return path


def read_golden(path: Path) -> Golden:
    """Reads a golden; raises UserError where its bytes are not those that its name promises."""
    try:
        data = path.read_bytes()
        facts = json.loads(pl.read_parquet_metadata(path)["golden"])
        rows = pl.read_parquet(io.BytesIO(data))
    except (OSError, KeyError, json.JSONDecodeError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path}: not a golden; make one with: pixvox gate --accept") from error
    if hashlib.sha256(data).hexdigest()[:12] != path.stem.rsplit("-", 1)[-1]:
        raise UserError(f"{path}: changed since it was made; restore it, or accept a new one")
    if facts["version"] != VERSION:
        raise UserError(f"{path}: another version made it; accept a new one")
    signatures = {name: Signature(**fields) for name, fields in facts["signatures"].items()}
    return Golden(facts["job"], facts["machine"], signatures, rows)
