"""How long a transcript took on this machine, remembered from run to run for predictions."""

import datetime
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from bench.asr.base import name_of
from bench.common.atomic import write_text
from bench.common.errors import UserError
from bench.common.machine import processor
from bench.common.text import clean, short
from bench.common.yamlfile import read_small
from bench.execution.stages import Pace
from bench.jobs.cells import Cell

_RATES = "rates.json"
LEAST_ROWS = 24
"""Fewer are a batch or two of every actor, and show no pace."""

_Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


@dataclass(frozen=True)
class Took:
    """What a run's rows took, and the seconds of the whole command."""

    pace: Pace
    seconds: float


@dataclass(frozen=True)
class Rate:
    """Seconds a row, generating included, and in which run, when and where that was.

    `startup` is what the run took beside: reading data, starting Ray and models, scoring.
    """

    seconds: _Seconds
    startup: _Seconds
    run: str
    on: datetime.date
    processor: str
    cores: int

    @property
    def words(self) -> str:
        """Where the pace is from, in words."""
        where = f"{short(clean(self.processor))}, {self.cores} cores"
        return f"at the pace of run {short(clean(self.run))}, {self.on.isoformat()} ({where})"


_Rates = TypeAdapter(dict[str, Rate])


def pace_of(cell: Cell) -> str | None:
    """What a row's time depends on most: the ASR, and how many candidates are drawn for it."""
    if cell.asr is None:
        return None
    candidates = cell.system.point().get("candidates", 1)
    return name_of(cell.asr) + (f", best of {candidates}" if candidates != 1 else "")


def read_rates(runs: Path) -> dict[str, Rate]:
    """The pace of a transcript by `pace_of`; nothing where the file is unreadable."""
    try:
        return dict(_Rates.validate_json(read_small(runs / _RATES, 1_000_000)))
    except (UserError, ValidationError):
        return {}


def keep_rate(runs: Path, name: str, cells: Sequence[Cell], took: Took) -> None:
    """Remembers what a run of one pace took; of a mixed run nobody knows who took how long."""
    kinds = {kind for cell in cells if (kind := pace_of(cell)) is not None}
    rows = took.pace.rows - took.pace.first_rows
    if len(kinds) != 1 or rows < LEAST_ROWS:
        return
    today = datetime.datetime.now(datetime.UTC).date()
    # The first rows came with the start-up, whose share of their time nobody knows.
    each = (took.pace.seconds - took.pace.first) / rows
    startup = max(took.seconds - each * took.pace.rows, 0.0)
    rate = Rate(each, startup, name, today, processor(), os.cpu_count() or 1)
    rates = read_rates(runs) | {kinds.pop(): rate}
    told = {pace: asdict(one) | {"on": one.on.isoformat()} for pace, one in rates.items()}
    write_text(runs / _RATES, json.dumps(told, indent=1) + "\n")
