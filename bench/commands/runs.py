"""`pixvox runs`: lists, shows, verifies, prunes and pushes runs."""

import os
import re
import stat
from argparse import Namespace
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ValidationError

from bench.commands import push
from bench.commands.arguments import add_runs
from bench.commands.options import Parser, run_name
from bench.commands.runfolders import (
    REMAINS,
    all_runs,
    find,
    held,
    inside,
    state_of,
    written_at,
)
from bench.common.atomic import disk_errors
from bench.common.errors import UserError
from bench.common.links import refuse_links
from bench.common.text import clean, plural
from bench.common.yamlfile import read_small
from bench.jobs.naming import told_apart
from bench.metrics.base import ALWAYS
from bench.metrics.shipped import METRICS, scores_of
from bench.report.terminal import Listing
from bench.store.ledger import PART, STAGES, Ledger, Part, final, read_part
from bench.store.manifest import Manifest, read_manifest

_MOST_BYTES = 256 * 1024 * 1024
DAMAGED = 3
_SPEECH = re.compile(r".*-\d+-([0-9a-f]{8})")


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of the command."""
    kinds = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    add_runs(kinds.add_parser("list", help="a line for every run"))
    for what, meaning in (
        ("show", "a run's cells, and how they scored"),
        ("verify", "read a run's ledger, and name damaged parts"),
        ("prune", "delete what a run's job no longer has"),
    ):
        one_run = kinds.add_parser(what, help=meaning)
        one_run.add_argument("name", type=run_name, help="the run: its name or folder")
        add_runs(one_run)
    push.add_arguments(kinds.add_parser("push", help="send a finished run to the Hugging Face hub"))


def run(args: Namespace) -> int:
    """Lists, shows, verifies, prunes or pushes."""
    if args.what == "push":
        return push.run(args)
    with disk_errors(args.runs):
        if args.what == "list":
            return listing(args.runs)
        commands = {"show": show, "verify": verify, "prune": prune}
        return commands[args.what](args.runs, args.name)


def _counts(run: Path, stage: str, key: str) -> tuple[int, int]:
    """Returns the rows and failed rows of one ledger key, without damaged parts."""
    ledger = Ledger(run / "ledger")
    parts = [read_part(path, stage, key) for path in ledger.names(stage, key)]
    frames = [part.rows for part in parts if part is not None and part.rows is not None]
    if not frames:
        return 0, 0
    try:
        rows = final(pl.concat([rows.select("item", "status", "cause") for rows in frames]))
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{run}: written by another version; move the run away") from error
    return rows.height, rows.filter(pl.col("status") != "ok").height


def listing(runs: Path) -> int:
    """Prints a line for every run, and for each that cannot be read."""
    heads = ("run", "state", "changed", "cells", "transcribed", "failed", "MB")
    table = Listing(heads, ("run", "state"), str(runs))
    unreadable: list[str] = []
    for run in all_runs(runs):
        try:
            refuse_links(run)
            manifest = read_manifest(run)
        except UserError as error:
            unreadable.append(clean(str(error)))
            continue
        cells = manifest.cells if manifest else ()
        counted = [_counts(run, "transcribed", cell.transcript_key) for cell in cells]
        parts = held(run).parts
        table.add_row(
            run.name,
            state_of(run),
            _changed(run, parts),
            str(len(cells)),
            str(sum(rows for rows, _ in counted)),
            str(sum(failed for _, failed in counted)),
            f"{sum(part.bytes for part in parts) / 1e6:.1f}",
        )
    table.print()
    for line in unreadable:
        print(line)
    return 0


def _changed(run: Path, parts: Sequence[Part]) -> str:
    """Returns when rows were last committed to a run, in local time."""
    files = (run / "run.json", run / "summary.json", *(part.path for part in parts))
    times = [time for path in files if (time := written_at(path)) is not None]
    return f"{datetime.fromtimestamp(max(times)):%Y-%m-%d %H:%M}" if times else "-"


def show(runs: Path, name: str) -> int:
    """Prints a run's cells: generated, transcribed and failed rows, and scores."""
    run = find(runs, name)
    name, manifest = run.name, read_manifest(run)
    shown = [score for score in scores_of(METRICS) if score.display_priority == ALWAYS]
    scores = _scores(run)
    cells = manifest.cells if manifest else ()
    counts = ("generated", "transcribed", "failed")
    heads = ("system", "prompt", "speech", *counts, *(score.head for score in shown))
    table = Listing(heads, ("system", "speech"), name)
    names = told_apart((c.system, (*c.described, c.part, c.asr)) for c in cells)
    for cell, called in zip(cells, names, strict=True):
        generated, _ = _counts(run, "generated", cell.speech_key)
        transcribed, failed = _counts(run, "transcribed", cell.transcript_key)
        scored = scores.get(cell.transcript_key)
        table.add_row(
            called,
            f"{cell.prompt:.0%}",
            cell.speech_key[:8],
            str(generated),
            str(transcribed),
            str(failed),
            *(_score(scored.scores if scored else {}, score.name) for score in shown),
        )
    table.print()
    if manifest and manifest.changes:
        print(clean(f"{name}: its job file, changed by {' '.join(manifest.changes)}"))
    return 0


class _Scored(BaseModel):
    transcript_key: str
    scores: dict[str, dict[str, float]]


class _Summary(BaseModel):
    cells: list[_Scored]


def _scores(run: Path) -> dict[str, _Scored]:
    """Returns the cells' scores by key; none where the run's summary is missing or damaged."""
    try:
        text = read_small(run / "summary.json", _MOST_BYTES)
        return {cell.transcript_key: cell for cell in _Summary.model_validate_json(text).cells}
    except (UserError, ValidationError):
        return {}


def _score(scores: dict[str, dict[str, float]], name: str) -> str:
    score = scores.get(name, {}).get("score")
    return "-" if score is None else f"{round(score, 2) + 0.0:.2f}"


def verify(runs: Path, name: str) -> int:
    """Reads every part and prints the damaged parts and other files; returns 3 for damage."""
    run = find(runs, name)
    contents = held(run)
    damaged = [part for part in contents.parts if part.rows is None]
    for part in damaged:
        print(f"{clean(str(part.path))}: damaged: {clean(part.fault)}; run the job again")
    for path in contents.foreign:
        print(f"{clean(str(path))}: no part of a ledger; it is left alone")
    print(f"{run.name}: {plural(len(contents.parts), 'part')}, {len(damaged)} damaged")
    try:
        read_manifest(run)
    except UserError as error:
        print(clean(str(error)))
        return DAMAGED
    return DAMAGED if damaged else 0


def prune(runs: Path, name: str) -> int:
    """Deletes rows and speech that no cell of the run's last job needs, and partial files.

    Only files that a run writes are deleted; other files and their folders stay.
    """
    run = find(runs, name)
    manifest = read_manifest(run)
    if manifest is None:
        raise UserError(f"{run}: no run.json, so it is not known what is needed; run the job first")
    with Ledger(run / "ledger").lock():
        # Read again, because a driver may have written it between the two reads.
        manifest = read_manifest(run) or manifest
        gone = list(_unneeded(run, manifest))
        freed = sum(path.lstat().st_size for path in gone)
        for path in gone:
            path.unlink()
        folders = [folder for folder in {path.parent for path in gone} if not inside(folder)]
        for folder in folders:
            folder.rmdir()
    print(f"{run.name}: {plural(len(gone), 'file')} and {freed / 1e6:.1f} MB deleted")
    return 0


def _unneeded(run: Path, manifest: Manifest) -> Iterator[Path]:
    """Yields parts and speech of other keys, and partial files."""
    for stage in STAGES:
        for folder in inside(run / "ledger" / stage):
            if folder.name not in manifest.keys:
                yield from (p for p in inside(folder) if PART.fullmatch(p.name) and _plain(p))
    # Speech is identified by its key, whatever its label was.
    needed = {cell.speech_key[:8] for cell in manifest.cells}
    for folder in inside(run / "speech"):
        key = _SPEECH.fullmatch(folder.name)
        if key is not None and key[1] not in needed:
            yield from (path for path in inside(folder) if path.suffix == ".wav" and _plain(path))
    for place, _, names in os.walk(run):
        yield from (
            path for name in names if REMAINS.fullmatch(name) and _plain(path := Path(place, name))
        )


def _plain(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)
