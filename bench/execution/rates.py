"""The seconds that a transcript took in earlier runs on this machine, to predict later runs."""

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
"""A run with fewer rows is no basis for a prediction: each actor had a batch or two."""

_Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


@dataclass(frozen=True)
class Took:
    """The pace of a run's rows, and the `seconds` of the whole command."""

    pace: Pace
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Rate:
    """The `seconds` of a row, generating included, and the run that they were measured in.

    `startup` are the run's other seconds: reading data, starting Ray and models, scoring.
    """

    seconds: _Seconds
    startup: _Seconds
    run: str
    on: datetime.date
    processor: str
    cores: int

    @property
    def words(self) -> str:
        """The run, date and machine that the rate was measured in, as words of a line."""
        where = f"{short(clean(self.processor))}, {self.cores} cores"
        return f"at the pace of run {short(clean(self.run))}, {self.on.isoformat()} ({where})"


_Rates = TypeAdapter(dict[str, Rate])


def pace_of(cell: Cell) -> str | None:
    """Returns the name under which a cell's rate is stored; None without an ASR.

    The ASR and the number of candidates decide most of a row's time.
    """
    if cell.asr is None:
        return None
    candidates = cell.system.point().get("candidates", 1)
    return name_of(cell.asr) + (f", best of {candidates}" if candidates != 1 else "")


def read_rates(runs: Path) -> dict[str, Rate]:
    """Returns the stored rates by the name of `pace_of`; none where the file is unreadable."""
    try:
        return dict(_Rates.validate_json(read_small(runs / _RATES, 1_000_000)))
    except (UserError, ValidationError):
        return {}


def keep_rate(runs: Path, run: str, cells: Sequence[Cell], took: Took) -> None:
    """Stores the rate of a run whose cells all have the same `pace_of`; skips other runs."""
    kinds = {kind for cell in cells if (kind := pace_of(cell)) is not None}
    rows = took.pace.rows - took.pace.first_rows
    if len(kinds) != 1 or rows < LEAST_ROWS:
        return
    today = datetime.datetime.now(datetime.UTC).date()
    # The time of the first rows includes the start-up, so they are left out.
    each = (took.pace.seconds - took.pace.first) / rows
    startup = max(took.seconds - each * took.pace.rows, 0.0)
    rate = Rate(
        seconds=each,
        startup=startup,
        run=run,
        on=today,
        processor=processor(),
        cores=os.cpu_count() or 1,
    )
    rates = read_rates(runs) | {kinds.pop(): rate}
    content = {name: asdict(rate) | {"on": rate.on.isoformat()} for name, rate in rates.items()}
    write_text(runs / _RATES, json.dumps(content, indent=1) + "\n")
