"""`pixvox runs`: what has been run, whether it is whole, and what may go."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bench.errors import UserError
from bench.ledger import STAGES, Ledger, final, is_whole
from bench.manifest import read_manifest
from bench.report.terminal import Listing
from bench.text import clean


@dataclass(frozen=True)
class Part:
    """One file of a ledger and whether its bytes are those that its name promises."""

    path: Path
    whole: bool
    bytes: int


def parts(run: Path) -> Iterator[Part]:
    """Every committed part of a run; the file is only read."""
    for stage in STAGES:
        for path in sorted((run / "ledger" / stage).rglob("part-*.parquet")):
            data = path.read_bytes()
            yield Part(path, is_whole(path, data), len(data))


def find(runs: Path, name: str) -> Path:
    """A run's folder; raises UserError naming those that there are."""
    folder = runs / name
    if (folder / "ledger").is_dir() and folder.parent == runs:
        return folder
    known = ", ".join(path.name for path in _all(runs)) or "none yet"
    raise UserError(f"{runs}: no run {name!r}; there are: {known}")


def _all(runs: Path) -> list[Path]:
    return sorted(path.parent for path in runs.glob("*/ledger"))


def _counts(run: Path, stage: str, key: str) -> tuple[int, int]:
    """Rows and failed rows of one ledger key, damaged parts left out."""
    frames = [
        pl.read_parquet(part, columns=["item", "status", "cause"])
        for part in sorted((run / "ledger" / stage / key).glob("part-*.parquet"))
        if is_whole(part, part.read_bytes())
    ]
    if not frames:
        return 0, 0
    rows = final(pl.concat(frames))
    return rows.height, rows.filter(pl.col("status") != "ok").height


def listing(runs: Path) -> int:
    """Prints a line for every run."""
    table = Listing(("run", "cells", "heard", "failed", "parts", "MB"), ("run",), str(runs))
    for run in _all(runs):
        manifest = read_manifest(run) or {"cells": []}
        counted = [_counts(run, "heard", cell["heard_key"]) for cell in manifest["cells"]]
        held = list(parts(run))
        table.add_row(
            run.name,
            str(len(manifest["cells"])),
            str(sum(rows for rows, _ in counted)),
            str(sum(failed for _, failed in counted)),
            str(len(held)),
            f"{sum(part.bytes for part in held) / 1e6:.1f}",
        )
    table.print()
    return 0


def show(runs: Path, name: str) -> int:
    """Prints a run's cells: what was spoken, heard, and failed."""
    run = find(runs, name)
    manifest = read_manifest(run) or {"cells": []}
    heads = ("cell", "system", "prompt", "spoken", "heard", "failed")
    table = Listing(heads, ("cell", "system"), name)
    for cell in manifest["cells"]:
        spoken, _ = _counts(run, "spoken", cell["speech_key"])
        heard, failed = _counts(run, "heard", cell["heard_key"])
        table.add_row(
            cell["cell"],
            cell["system"],
            f"{cell['prompt']:.0%}",
            str(spoken),
            str(heard),
            str(failed),
        )
    table.print()
    return 0


def verify(runs: Path, name: str) -> int:
    """Reads every part; names the damaged ones, and returns 1 if there is any."""
    run = find(runs, name)
    held = list(parts(run))
    damaged = [part for part in held if not part.whole]
    for part in damaged:
        print(f"{clean(str(part.path))}: damaged; run the job again, its rows are then made anew")
    print(f"{name}: {len(held)} parts, {len(damaged)} damaged")
    return 1 if damaged else 0


def prune(runs: Path, name: str) -> int:
    """Deletes what no cell of the run's last job needs: other cells, remains of broken writes."""
    run = find(runs, name)
    manifest = read_manifest(run)
    if manifest is None:
        raise UserError(f"{run}: no run.json, so nothing says what is needed; run the job first")
    freed = 0
    with Ledger(run / "ledger").lock():
        kept = {cell["speech_key"] for cell in manifest["cells"]}
        kept |= {cell["heard_key"] for cell in manifest["cells"]}
        folders = [f for stage in STAGES for f in (run / "ledger" / stage).glob("*")]
        speech = {cell["cell"] for cell in manifest["cells"]}
        unneeded = [f for f in folders if f.name not in kept]
        unneeded += [f for f in (run / "speech").glob("*") if f.name not in speech]
        for folder in unneeded:
            freed += sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            shutil.rmtree(folder)
        for remains in (*run.rglob(".part-*"), *run.rglob("*.damaged")):
            freed += remains.stat().st_size
            remains.unlink()
    print(f"{name}: {len(unneeded)} folders and {freed / 1e6:.1f} MB gone")
    return 0
