"""Writes `speed.md` beside a run's results."""

from pathlib import Path

import polars as pl

from bench.common.atomic import write_text
from bench.report.files import plain_markdown
from bench.tables.speed import NOTE

SPEED_TABLE = "speed.md"


def write_speed(frame: pl.DataFrame, folder: Path) -> None:
    """Writes the frame of bench.tables.speed into a run's folder.

    If the frame is empty, because the run timed nothing, the file is removed.
    """
    path = folder / SPEED_TABLE
    if frame.is_empty():
        path.unlink(missing_ok=True)
    else:
        write_text(path, f"{plain_markdown(frame, 'Speed')}\n{NOTE}\n")
