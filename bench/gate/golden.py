"""A golden: the outputs of a job's cells, item by item, by which later versions are judged.

It is one Parquet file whose name has its digest, so that it is never changed. A row is an item of a
cell, with the sufficient statistics of its scores, its units, and the values that guards check.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

from bench.common.atomic import parquet, write_bytes
from bench.common.errors import UserError
from bench.jobs.cells import Cell
from bench.metrics.base import Array, CorpusMetric
from bench.metrics.counted import Counted, column_names
from bench.scoring.scorer import CellScores
from bench.scoring.signature import Signature
from bench.store.columns import Column, Columns, schema
from bench.store.ledger import Ledger
from bench.store.rows import GENERATED_SCHEMA

VERSION = 3
COLUMNS: Columns = (
    Column("cell", pl.String, "The cell: label, place in the grid and ASR in words, no digest."),
    Column("item", pl.String, "The item's id in its dataset."),
    Column("status", pl.String, "`ok`, or `failed`."),
    Column("transcript", pl.String, "The transcript as the ASR returned it."),
    Column("seconds", pl.Float64, "The length of the transcribed speech."),
    Column("silent", pl.Boolean, "Whether the loudest sample is below −60 dB."),
    Column("ended", pl.Boolean, "Whether the speech ended before the length limit."),
    Column("units", pl.Binary, "The codec's units, int16 `[codebooks, frames]`."),
    Column("codebooks", pl.Int32, "The number of codebooks in `units`."),
    Column("nats", pl.Float64, "Loss of the recorded caption, nats a unit; null if unknown."),
    Column("values", pl.List(pl.Float64), "What the metrics counted; the file names the columns."),
)


@dataclass(frozen=True, kw_only=True)
class Golden:
    """Rows and, for every cell, its signature and the columns of its statistics.

    `machine` describes the machine that generated the rows.
    """

    job: str
    machine: str
    signatures: Mapping[str, Signature]
    columns: Mapping[str, tuple[str, ...]]
    rows: pl.DataFrame

    def cell(self, name: str, items: Sequence[str]) -> pl.DataFrame:
        """Returns a cell's rows of some items, in the items' order; missing items are left out."""
        wanted = pl.DataFrame({"item": list(items)}, schema={"item": pl.String})
        rows = self.rows.filter(cell=name)
        return wanted.join(rows, on="item", how="inner", maintain_order="left")

    def metrics(self, cell: str, known: Sequence[CorpusMetric]) -> tuple[CorpusMetric, ...]:
        """Returns the known metrics whose columns a cell has.

        Raises UserError if the cell has columns of other metrics.
        """
        has = self.columns[cell]
        metrics = tuple(m for m in known if set(column_names([m])) <= set(has))
        if column_names(metrics) != has:
            raise UserError(
                f"{self.job}: {cell}: scored by metrics that are not known here; accept a new "
                "golden"
            )
        return metrics

    def counted(self, rows: pl.DataFrame, cell: str, known: Sequence[CorpusMetric]) -> Counted:
        """Returns the statistics of some of a cell's rows (see `metrics`)."""
        return Counted(self.metrics(cell, known), matrix(rows))


def cell_id(cell: Cell) -> str:
    """Returns a cell's name across versions: its label and place in the grid, without digests."""
    parts = [f"{cell.label} at {cell.prompt:.0%}", *cell.system.described(), cell.part]
    if cell.asr is not None:
        parts.append(" ".join([cell.asr.label, *cell.asr.described()]))
    return ", ".join(parts)


def matrix(rows: pl.DataFrame) -> Array:
    """Returns the statistics of rows, `[n, D]`."""
    return np.array(rows["values"].to_list(), dtype=np.float64)


def gathered(
    job: str,
    machine: str,
    scores: Sequence[CellScores],
    ledger: Ledger,
    *,
    nats: Mapping[str, Mapping[str, float]],
) -> Golden:
    """Returns the cells of a finished run; raises UserError if two of them have the same name.

    `nats` are the likelihoods of recorded speech (see bench.gate.likelihood).
    """
    named = [cell_id(cell_scores.cell) for cell_scores in scores]
    twice = next((name for name in named if named.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{job}: two cells have the name {twice}; give their systems other labels")
    frames = [pl.DataFrame(schema=schema(COLUMNS))]
    for cell_scores in scores:
        generated = ledger.rows("generated", cell_scores.cell.speech_key, GENERATED_SCHEMA)
        units = generated.select("item", "units", "codebooks")
        facts = ("item", "status", "transcript", "seconds", "silent", "ended")
        table = cell_scores.items.select(facts)
        table = table.with_columns(
            cell=pl.lit(cell_id(cell_scores.cell)),
            nats=pl.col("item").replace_strict(
                dict(nats.get(cell_id(cell_scores.cell), {})), default=None, return_dtype=pl.Float64
            ),
            values=pl.Series(cell_scores.counted.values.tolist(), dtype=pl.List(pl.Float64)),
        )
        joined = table.join(units, on="item", how="left", maintain_order="left")
        frames.append(joined.select(*schema(COLUMNS)))
    signatures = {name: s.signature for name, s in zip(named, scores, strict=True)}
    columns = {name: s.counted.columns for name, s in zip(named, scores, strict=True)}
    return Golden(
        job=job, machine=machine, signatures=signatures, columns=columns, rows=pl.concat(frames)
    )


def write_golden(golden: Golden, folder: Path) -> Path:
    """Writes `JOB-DIGEST.parquet`; the same content gives the same file."""
    facts = {
        "version": VERSION,
        "job": golden.job,
        "machine": golden.machine,
        "signatures": {name: asdict(s) for name, s in golden.signatures.items()},
        "columns": golden.columns,
    }
    data = parquet(golden.rows, {"golden": json.dumps(facts, sort_keys=True)})
    path = folder / f"{golden.job}-{hashlib.sha256(data).hexdigest()[:12]}.parquet"
    write_bytes(path, data, durable=True)
    return path


def read_golden(path: Path) -> Golden:
    """Reads a golden; raises UserError if its bytes do not match the digest in its name."""
    try:
        data = path.read_bytes()
        facts = json.loads(pl.read_parquet_metadata(path)["golden"])
        rows = pl.read_parquet(io.BytesIO(data))
        version = facts["version"]
    except (OSError, KeyError, json.JSONDecodeError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path}: not a golden; make one with: pixvox gate --accept") from error
    if hashlib.sha256(data).hexdigest()[:12] != path.stem.rsplit("-", 1)[-1]:
        raise UserError(f"{path}: changed since it was made; restore it, or accept a new one")
    if version != VERSION:
        raise UserError(f"{path}: another version made it; accept a new one")
    signatures = {name: Signature(**fields) for name, fields in facts["signatures"].items()}
    columns = {name: tuple(names) for name, names in facts["columns"].items()}
    return Golden(
        job=facts["job"],
        machine=facts["machine"],
        signatures=signatures,
        columns=columns,
        rows=rows,
    )
