"""`run.json` holds a run's job and cells, so that a run can be read without its job file."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from bench.common.atomic import write_text
from bench.common.errors import UserError
from bench.common.yamlfile import Strict, read_small

_MOST_BYTES = 64 * 1024 * 1024


class ManifestCell(Strict):
    """A cell of a run: its names, its place in the grid, and the ledger keys of its rows."""

    cell: str
    system: str
    described: tuple[str, ...]
    prompt: float
    asr: str
    part: str
    speech_key: str
    transcript_key: str
    measured: dict[str, str] = Field(default_factory=dict)
    """Audio metrics by their name in the job, each with the key of its rows."""

    @property
    def name(self) -> str:
        """The cell's name in `rows.parquet` and `summary.json`."""
        return f"{self.cell}-{self.transcript_key[:8]}"


class Manifest(Strict):
    """A run's job and cells.

    The digest covers both: a file that was edited is refused, because its keys decide which rows
    are deleted. `changes` are the command line's options in which the job differs from its file.
    """

    job: dict[str, Any]
    cells: tuple[ManifestCell, ...]
    digest: str
    changes: tuple[str, ...] = ()

    @property
    def keys(self) -> set[str]:
        """All keys of the ledger that the run needs."""
        return {
            key
            for cell in self.cells
            for key in (cell.speech_key, cell.transcript_key, *cell.measured.values())
        }


def _plain(cells: Sequence[ManifestCell]) -> list[dict[str, Any]]:
    """Returns cells as JSON without defaults, as earlier versions wrote them."""
    return [cell.model_dump(exclude_defaults=True) for cell in cells]


def _digest(job: dict[str, Any], cells: Sequence[ManifestCell]) -> str:
    content = json.dumps([job, _plain(cells)], sort_keys=True)
    return hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()[:32]


def write_manifest(
    folder: Path,
    job: dict[str, Any],
    cells: Sequence[ManifestCell],
    changes: Sequence[str] = (),
) -> None:
    """Writes `run.json`, which holds a run's job and cells."""
    digest = _digest(job, cells)
    manifest = Manifest(job=job, cells=tuple(cells), digest=digest, changes=tuple(changes))
    content = manifest.model_dump() | {"cells": _plain(manifest.cells)}
    write_text(folder / "run.json", json.dumps(content, indent=1) + "\n", durable=True)


def read_manifest(folder: Path) -> Manifest | None:
    """Returns a run's job and cells; None where nothing has been run.

    Raises UserError where the file is damaged or was changed.
    """
    path = folder / "run.json"
    if not path.exists():
        return None
    try:
        manifest = Manifest.model_validate_json(read_small(path, _MOST_BYTES))
    except ValidationError as error:
        raise UserError(f"{path}: damaged; delete it, and run the job again") from error
    if manifest.digest != _digest(manifest.job, manifest.cells):
        raise UserError(f"{path}: changed by hand; delete it, and run the job again")
    return manifest
