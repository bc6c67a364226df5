"""`run.json`: what a run is, beside its ledger, so that a run can be read without its job file."""

import json
from pathlib import Path
from typing import Any

from bench.errors import UserError


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """A run's job and cells, None where nothing has been run; raises UserError if unreadable."""
    path = folder / "run.json"
    if not path.exists():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not JSON; delete it, and run the job again") from error
    return content
