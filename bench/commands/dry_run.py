"""`pixvox run --dry-run`: a job's cells, their missing rows, and how long these will take."""

import os
from collections.abc import Mapping, Sequence

from bench.common.progress import duration
from bench.common.text import plural
from bench.execution.rates import LEAST_ROWS, Rate, pace_of
from bench.execution.runstate import RunState
from bench.jobs.cells import Cell
from bench.report.fit import numbers, texts
from bench.report.terminal import draw, make_console
from bench.tables.sweep import AXES, axes_of, differ

_TEXTS = ("system", "part", "asr", "per_codebook")
"""Axes whose values are names."""


def predicted(cells: Sequence[Cell], run: RunState, rates: Mapping[str, Rate]) -> str:
    """Returns how long the missing rows will take with start-up, and by which run's pace."""
    total, used, startup = 0.0, dict[str, None](), 0.0
    for cell in (cell for cell in cells if cell.source is None):
        missing = len(run.items) - run.transcribed[cell.transcript_key].count
        pace = pace_of(cell)
        if pace is None or not missing:
            continue
        rate = rates.get(pace)
        if rate is None:
            return (
                "duration unknown: no run on this machine has had "
                f"{LEAST_ROWS} rows or more, all by {pace}"
            )
        total += missing * rate.seconds
        startup = max(startup, rate.startup)
        used[rate.words] = None
    if not used:
        return f"about 0 s{_beside()}"
    about = f"about {duration(startup + total)}, {duration(startup)} of it start-up,"
    return " ".join([about, *used]) + _beside()


def _beside() -> str:
    """Returns a remark if the machine is busy, because the run then takes longer."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    return f"; the machine is busy now, {load:.1f} of {cores} cores" if load > cores / 2 else ""


def show_plan(name: str, cells: Sequence[Cell], run: RunState, rates: Mapping[str, Rate]) -> None:
    """Prints a line for every cell, and the totals."""
    items = len(run.items)
    rows = [axes_of(cell) for cell in cells]
    # The pattern is a property of the system.
    other_axes = (axis for axis in AXES if axis not in ("system", "pattern"))
    axes = ["system", *(a for a in other_axes if differ(a, [row[a] for row in rows]))]
    columns = [
        (texts if axis in _TEXTS else numbers)(
            axis, ["-" if row[axis] is None else row[axis] for row in rows]
        )
        for axis in axes
    ]
    generated = [
        "-"
        if cell.asr is None or cell.source
        else f"{run.generated[cell.speech_key].count}/{items}"
        for cell in cells
    ]
    transcribed = [f"{run.transcribed[cell.transcript_key].count}/{items}" for cell in cells]
    columns += [numbers("generated", generated), numbers("transcribed", transcribed)]
    console = make_console()
    draw(console, columns, name)
    speeches = {c.speech_key for c in cells if c.asr is not None and c.source is None}
    own = [cell.transcript_key for cell in cells if cell.source is None]
    untranscribed = sum(items - run.transcribed[key].count for key in own)
    ungenerated = sum(items - run.generated[key].count for key in speeches)
    damaged = len(run.ledger.damaged)
    if damaged:
        parts, them = ("part is", "it") if damaged == 1 else ("parts are", "them")
        aside = f"a run sets {them} aside and computes the rows again"
        console.print(f"{damaged} {parts} damaged; {aside}")
    measuring = ""
    if run.metrics:
        by = " and ".join(map(str, run.metrics))
        measuring = f", {run.unmeasured} to measure by {by}, which takes additional time"
    console.print(
        f"{plural(len(cells), 'cell')}, {plural(len(speeches), 'speech', 'speeches')} of "
        f"{plural(items, 'image')}: "
        f"{ungenerated} to generate, {untranscribed} to transcribe{measuring}; "
        f"{predicted(cells, run, rates)}"
    )
