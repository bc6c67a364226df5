"""Weights & Biases: offline files in the run's folder, or its server."""

import importlib
import os
import shutil
from pathlib import Path
from typing import Any, ClassVar, Literal

from bench.common.errors import UserError
from bench.tracking.base import Evaluation, Named, Tracker


class WandbTracker(Tracker):
    """Logs a W&B run for each row, in a group of the run's name, and one with the tables."""

    kind: Literal["wandb"]
    """Scores are the summary, parameters are the config, tables are an artifact."""
    project: Named = "pixvox"
    """The project's name."""
    entity: Named | None = None
    """The user or team; `null` for the account's own."""
    mode: Literal["offline", "online"] = "offline"
    """`offline` writes to `tracking/wandb` in the run's folder, for `wandb sync`; `online` sends
    to the server of the account, and needs a key."""
    title: ClassVar[str] = "W&B"

    def modules(self) -> tuple[str, ...]:
        return ("wandb",)

    def check(self) -> None:
        super().check()
        if self.mode == "online" and not _has_key():
            raise UserError(
                "tracking: W&B has no key; log in with `wandb login`, or set WANDB_API_KEY, or "
                "write mode: offline"
            )

    def log(self, evaluation: Evaluation, folder: Path) -> str:
        wandb = _imported()
        target = folder / "wandb"
        # Offline runs would be added to those of an earlier call; online ones are replaced by id.
        shutil.rmtree(target, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(
            silent=True,
            console="off",
            # The suite refuses links inside a run.
            symlink=False,
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_save_requirements=False,
        )
        shared: dict[str, Any] = {
            "project": self.project,
            "entity": self.entity,
            "dir": str(folder),
            "mode": self.mode,
            "group": evaluation.run,
            "resume": "allow" if self.mode == "online" else None,
            "allow_val_change": True,
            "settings": settings,
        }
        for row in evaluation.rows:
            identity, config = f"{evaluation.run}-{row.key}", dict(row.parameters)
            with wandb.init(**shared, id=identity, name=row.name, config=config) as run:
                run.summary.update(dict(row.metrics))
        tables = wandb.Artifact(f"{evaluation.run}-tables", "evaluation")
        for path in evaluation.tables:
            tables.add_file(str(path), path.name)
        with wandb.init(**shared, id=f"{evaluation.run}-tables", name="tables") as run:
            run.log_artifact(tables)
        where = "W&B" if self.mode == "online" else f"wandb sync {target}/offline-run-*"
        return f"{where}, project {self.project}"


def _imported() -> Any:
    """Imports wandb with its error reporting off, a setting that it reads when it is imported."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    return importlib.import_module("wandb")


def _has_key() -> bool:
    return bool(_imported().login(verify=False, prompt=False))
