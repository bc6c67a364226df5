"""How long a transcript took on this machine, remembered from run to run for predictions."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from bench.common.atomic import write_text
from bench.common.errors import UserError
from bench.common.yamlfile import read_small
from bench.jobs.cells import Cell

_Rates = dict[str, Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]]

_RATES = "rates.json"


def read_rates(runs: Path) -> dict[str, float]:
    """Seconds a transcript took on this machine, by ASR; nothing where the file is unreadable."""
    try:
        found = TypeAdapter(_Rates).validate_json(read_small(runs / _RATES, 1_000_000), strict=True)
    except (UserError, ValidationError):
        return {}
    return dict(found)


def keep_rate(runs: Path, cells: Sequence[Cell], rows: int, seconds: float) -> None:
    """Remembers what a run of one ASR took, generating included."""
    labels = {cell.asr.label for cell in cells if cell.asr is not None}
    if len(labels) != 1 or rows < 50:
        # Of a mixed run nobody knows who took how long; of a few rows most is start-up.
        return
    rates = read_rates(runs) | {labels.pop(): seconds / rows}
    write_text(runs / _RATES, json.dumps(rates, indent=1) + "\n")
