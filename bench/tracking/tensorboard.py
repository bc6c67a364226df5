"""TensorBoard: event files in the run's folder, one TensorBoard run for each row."""

import shutil
from pathlib import Path
from typing import ClassVar, Literal

from bench.tracking.base import Evaluation, TrackedRow, Tracker


class TensorboardTracker(Tracker):
    """Event files in `tracking/tensorboard` in the run's folder."""

    kind: Literal["tensorboard"]
    """Scores are scalars, parameters are hyperparameters, tables are text."""
    title: ClassVar[str] = "TensorBoard"

    def modules(self) -> tuple[str, ...]:
        return ("tensorboardX",)

    def log(self, evaluation: Evaluation, folder: Path) -> str:
        from tensorboardX import SummaryWriter

        target, partial = folder / "tensorboard", folder / "tensorboard.part"
        shutil.rmtree(partial, ignore_errors=True)
        for row in evaluation.rows:
            _write_row(row, partial / row.slug)
        with SummaryWriter(str(partial / "tables")) as writer:
            for path in (path for path in evaluation.tables if path.suffix == ".md"):
                writer.add_text(path.stem, path.read_text(encoding="utf-8"), 0)
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
        return f"tensorboard --logdir {target}"


def _write_row(row: TrackedRow, folder: Path) -> None:
    from tensorboardX import SummaryWriter
    from tensorboardX.summary import hparams

    with SummaryWriter(str(folder)) as writer:
        for name, value in row.metrics.items():
            writer.add_scalar(name, value, 0)
        # `add_hparams` would put these into a TensorBoard run of their own.
        for summary in hparams(dict(row.parameters), dict(row.metrics)):
            writer.file_writer.add_summary(summary)
