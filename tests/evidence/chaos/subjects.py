"""The runs that are interrupted: a run of stubs, or a job by the real command."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bench.common.errors import RunFailed

OWN_DEATHS = ("write", "rename", "disk")
"""How a stub run ends itself: before or after a part is renamed, or on a full disk."""


@dataclass(frozen=True)
class Subject:
    """A run that can be started, started again, and compared.

    `job` is a job file, None for `items` items of stubs. `generator` and `transcriber` are what Ray
    calls its actors, `keys` the columns that name a row, and `patience` how many seconds a run
    may take. With `raylets` it is run over a cluster of so many nodes, which do not see `hidden`
    files where that can be had.
    """

    job: Path | None
    items: int
    generator: str
    transcriber: str
    keys: Sequence[str]
    patience: float
    raylets: int = 0
    hidden: tuple[Path, ...] = ()

    def command(self, folder: Path, die: str, after: int) -> list[str]:
        """Returns the command that runs or resumes `folder`."""
        python = [sys.executable, "-m"]
        if self.job is not None:
            return [*python, "bench.cli", "run", str(self.job.absolute()), "--runs", str(folder)]
        own = ["--items", str(self.items), "--die", die, "--after", str(after)]
        own += ["--transcribers", str(max(1, self.raylets))]
        return [*python, "tests.evidence.chaos.stubrun", str(folder), *own]

    def derived(self, folder: Path) -> dict[str, Path]:
        """Returns the files that a finished run derives from its ledger, by name."""
        compared = ("rows.parquet", "scores.parquet", "summary.json", "scores.json")
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {
            str(path.relative_to(folder)): path
            for path in sorted(files)
            if path.name in compared or path.parent.name == "tables"
        }

    def rows(self, folder: Path) -> pl.DataFrame:
        """Returns the finished run's rows; raises RunFailed if it is not finished."""
        for path in self.derived(folder).values():
            if path.name == "rows.parquet":
                return pl.read_parquet(path)
        raise RunFailed(f"{folder}.log: the run was not finished")


def stubs(items: int) -> Subject:
    """Returns a run whose models are stubs."""
    return Subject(None, items, "ray::StubGenerator", "ray::StubTranscriber", ("cell", "item"), 120)


def real(job: Path) -> Subject:
    """Returns a run of a job file by `pixvox run`."""
    return Subject(job, 0, "ray::GeneratorActor", "ray::TranscriberActor", ("cell", "item"), 600)
