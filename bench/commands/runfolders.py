"""Finds the folders of runs, their contents, and whether they are finished."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from bench.common.errors import UserError
from bench.common.links import refuse_links
from bench.common.lock import holder
from bench.store.ledger import PART, STAGES, Part, read_part

REMAINS = re.compile(r"\.[0-9a-f]{16}\.\d+\.part|part-[0-9a-f]{32}\.damaged")
"""Names of partial files of interrupted writes, and of damaged parts that a run set aside."""


@dataclass
class Held:
    """The contents of a run's ledger: its parts, and other files."""

    parts: list[Part] = field(default_factory=list)
    foreign: list[Path] = field(default_factory=list)


def inside(folder: Path) -> list[Path]:
    """Returns the contents of a folder, sorted by name; empty if it does not exist."""
    return sorted(folder.iterdir()) if folder.is_dir() else []


def held(run: Path) -> Held:
    """Reads every committed part of a run without changing anything."""
    contents = Held()
    for path in inside(run / "ledger"):
        if path.name not in STAGES or not path.is_dir():
            contents.foreign.append(path)
            continue
        for key in inside(path):
            if not key.is_dir():
                contents.foreign.append(key)
                continue
            for file in inside(key):
                part = read_part(file, path.name, key.name) if PART.fullmatch(file.name) else None
                if part is not None:
                    contents.parts.append(part)
                elif not REMAINS.fullmatch(file.name):
                    contents.foreign.append(file)
    return contents


def find(runs: Path, named: str) -> Path:
    """Returns the folder of a run, named by its path or by its name in the folder of all runs.

    Raises UserError, with the existing runs, if it does not exist, and for a link in the run.
    """
    path = Path(named)
    # The last part of a path is the run's name.
    path = path.resolve() if path.name in ("", "..") else path
    for folder in (runs / named, path) if path.name == named else (path,):
        is_run = (folder / "ledger").is_dir() or (folder / "summary.json").is_file()
        if folder.is_symlink() or is_run:
            refuse_links(folder)
            return folder
    if path.name != named:
        raise UserError(f"{named}: no run's folder; pixvox runs list shows the runs")
    known = ", ".join(path.name for path in all_runs(runs)) or "none yet"
    raise UserError(f"{runs}: no run {named!r}; there are: {known}")


def all_runs(runs: Path) -> list[Path]:
    """Returns the folders of runs, by name."""
    return sorted(
        path for path in inside(runs) if not path.is_symlink() and (path / "ledger").is_dir()
    )


def state_of(run: Path) -> str:
    """Returns whether a process is working on a run and, if not, whether the run is finished.

    A driver writes run.json when it starts and summary.json when it ends.
    """
    if holder(run / "ledger") is not None:
        return "running"
    begun, ended = (written_at(run / name) for name in ("run.json", "summary.json"))
    return "unfinished" if ended is None or (begun or 0) > ended else "done"


def written_at(path: Path) -> float | None:
    """Returns when a file was changed, in seconds of the clock; None if it does not exist."""
    return path.stat().st_mtime if path.is_file() else None
