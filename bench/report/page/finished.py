"""Reads a finished run from its folder: its job, rows, scores and tables; writes nothing."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from bench.common.errors import UserError
from bench.common.links import refuse_links
from bench.common.yamlfile import read_small, validate
from bench.datasets.base import Dataset
from bench.datasets.shipped import AnyDataset
from bench.execution.stages import Pace, read_pace
from bench.store.manifest import read_manifest
from bench.tables.protocol import Protocol

_MOST_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Finished:
    """One run. `cells` are those of `summary.json`, in the job's order; `rows` has one row an item.

    `dataset` is None if it cannot be read any more; `lost` is then the reason. `tables` are the
    run's frames by file name. `pace` is that of the last command that generated or transcribed.
    """

    name: str
    folder: Path
    job: dict[str, Any]
    protocol: Protocol
    asr: str
    cells: tuple[dict[str, Any], ...]
    rows: pl.DataFrame
    scores: pl.DataFrame
    tables: dict[str, pl.DataFrame]
    dataset: Dataset | None
    lost: str
    pace: Pace | None = None

    def speech(self, cell: dict[str, Any], item: str) -> Path:
        """Returns the path of an item's speech in a cell, if it exists."""
        # Both names come from files that may have been changed.
        folder, name = Path(str(cell["cell"])[:-9]).name, Path(f"{item}.wav").name
        return self.folder / "speech" / folder / name


def _frame(path: Path) -> pl.DataFrame:
    try:
        return pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError(f"{path}: damaged; run the job again") from error


def _summary(path: Path) -> dict[str, Any]:
    try:
        summary = json.loads(read_small(path, _MOST_BYTES))
        known = {field.name for field in fields(Protocol)}
        summary["protocol"]["standing"] = tuple(summary["protocol"]["standing"])
        summary["asr"] = summary["protocol"].pop("asr_label")
        if summary["protocol"].keys() != known or not isinstance(summary["cells"], list):
            raise KeyError("protocol")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: of another version, or damaged; run the job again") from error
    return dict(summary)


def scored_dataset(job: dict[str, Any], digest: str) -> tuple[Dataset | None, str]:
    """Returns the run's dataset; or None and the reason, if it is missing or has changed."""
    from bench.datasets.loading import load_dataset

    try:
        dataset = load_dataset(validate(job["dataset"], AnyDataset, "the run's dataset"))
    except (UserError, ValidationError, OSError, KeyError) as error:
        return None, " ".join(str(error).split())
    if dataset.digest != digest:
        return None, (
            f"{dataset.name} {dataset.split} has other content now (digest {dataset.digest}) "
            f"than when it was scored (digest {digest})"
        )
    return dataset, ""


def read_finished(folder: Path) -> Finished:
    """Returns the content of a run's folder; raises UserError for an unfinished or damaged run."""
    refuse_links(folder)
    name = folder.name
    manifest = read_manifest(folder)
    needed = [folder / file for file in ("summary.json", "rows.parquet", "scores.parquet")]
    lacking = [path for path in needed if not path.is_file()]
    if manifest is None or lacking:
        raise UserError(f"{folder}: the run is not finished; run its job again to its end")
    summary = _summary(needed[0])
    protocol = Protocol(**summary["protocol"])
    dataset, lost = scored_dataset(manifest.job, protocol.dataset_digest)
    tables = {
        path.stem: _frame(path)
        for path in sorted((folder / "tables").glob("*.parquet"))
        if path.is_file()
    }
    return Finished(
        name=name,
        folder=folder,
        job=manifest.job,
        protocol=protocol,
        asr=summary["asr"],
        cells=tuple(summary["cells"]),
        rows=_frame(needed[1]),
        scores=_frame(needed[2]),
        tables=tables,
        dataset=dataset,
        lost=lost,
        pace=read_pace(folder),
    )
