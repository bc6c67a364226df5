"""Reads the committed versions of a file from git, oldest first."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.common.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Version:
    """One commit that changed the file, and the file's text.

    `number` counts from 0, `revision` is the short hash, and `day` the commit's date, YYYY-MM-DD.
    """

    number: int
    revision: str
    day: str
    subject: str
    text: str


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", check=False
    )


def versions(path: Path) -> list[Version]:
    """Returns every committed version of a file; raises UserError where there is none."""
    folder = path.resolve().parent
    while not folder.is_dir():
        folder = folder.parent
    inside = _git(folder, "rev-parse", "--show-toplevel")
    if inside.returncode != 0:
        raise UserError(f"{path}: not in a git repository; a trend is read from its commits")
    top = Path(inside.stdout.strip())
    name = path.resolve().relative_to(top).as_posix()
    log = _git(top, "log", "--reverse", "--format=%h%x09%cs%x09%s", "--", name)
    committed: list[Version] = []
    for line in log.stdout.splitlines():
        revision, day, subject = line.split("\t", 2)
        shown = _git(top, "show", f"{revision}:{name}")
        # git show fails for a commit that removed the file.
        if shown.returncode == 0:
            committed.append(
                Version(
                    number=len(committed),
                    revision=revision,
                    day=day,
                    subject=subject,
                    text=shown.stdout,
                )
            )
    if not committed:
        raise UserError(f"{path}: no commit has it; commit results to see their trend")
    return committed
