"""MLflow: a store in the run's folder, or a tracking server."""

import json
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from bench.common.atomic import write_text
from bench.tracking.base import Address, Evaluation, Named, TrackedRow, Tracker

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SETTINGS = {
    # MLflow's usage statistics would be sent to its makers.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # The defaults would wait for minutes on a server that does not answer.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
_MOST = 100
"""Parameters in one request."""


class MlflowTracker(Tracker):
    """Logs an MLflow run for each row, below a parent run for the evaluation with the tables."""

    kind: Literal["mlflow"]
    """Scores are metrics, parameters are parameters, tables are artifacts."""
    uri: Address | None = None
    """A tracking server, as in http://HOST:5000, or another store of MLflow; `null` for
    `tracking/mlflow.db` in the run's folder. `MLFLOW_TRACKING_URI` is not read."""
    experiment: Named = "pixvox"
    """The experiment's name; it is created if it does not exist."""
    title: ClassVar[str] = "MLflow"

    def modules(self) -> tuple[str, ...]:
        local = self.uri is None or self.uri.startswith("sqlite:")
        return ("mlflow", "sqlalchemy", "alembic") if local else ("mlflow",)

    def log(self, evaluation: Evaluation, folder: Path) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        uri = self.uri or f"sqlite:///{folder.resolve() / 'mlflow.db'}"
        with _settings():
            from mlflow import MlflowClient

            client = MlflowClient(tracking_uri=uri)
            place = None if self.uri else (folder.resolve() / "mlflow-artifacts").as_uri()
            experiment = _experiment(client, self.experiment, place)
            log = _Log(client, experiment, _Known(folder / "mlflow.json", uri))
            log.replace(evaluation)
        return f"mlflow, experiment {self.experiment} of {uri}"


@contextmanager
def _settings() -> Iterator[None]:
    """Sets MLflow's environment variables that the user has not set; silences migrations."""
    added = {name: value for name, value in _SETTINGS.items() if name not in os.environ}
    os.environ |= added
    logger = logging.getLogger("alembic")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name in added:
            os.environ.pop(name, None)


def _experiment(client: "MlflowClient", name: str, place: str | None) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        return str(client.create_experiment(name, artifact_location=place))
    return str(experiment.experiment_id)


class _Known:
    """The ids of MLflow runs that this run's folder has logged, by store, saved in a file.

    Only these are replaced, because another user's evaluation may have the same name.
    """

    def __init__(self, path: Path, uri: str) -> None:
        self._path, self._uri = path, uri
        self._ids: dict[str, list[str]] = json.loads(path.read_text()) if path.exists() else {}

    @property
    def ids(self) -> list[str]:
        return self._ids.get(self._uri, [])

    def keep(self, ids: list[str]) -> None:
        self._ids[self._uri] = ids
        write_text(self._path, json.dumps(self._ids, indent=1) + "\n")


class _Log:
    """One evaluation's runs in one experiment."""

    def __init__(self, client: "MlflowClient", experiment: str, known: _Known) -> None:
        self._client, self._experiment, self._known = client, experiment, known

    def replace(self, evaluation: Evaluation) -> None:
        """Logs all rows, then deletes the MLflow runs of an earlier call."""
        outdated = list(self._known.ids)
        tags = {"pixvox.run": evaluation.run}
        parent = self._start(evaluation.run, tags)
        for path in evaluation.tables:
            self._client.log_artifact(parent, str(path), "tables")
        for row in evaluation.rows:
            child = tags | {"pixvox.row": row.key, "mlflow.parentRunId": parent}
            self._write(self._start(row.name, child), row)
        self._client.set_terminated(parent)
        for identity in outdated:
            self._delete(identity)
        self._known.keep([name for name in self._known.ids if name not in outdated])

    def _start(self, name: str, tags: dict[str, str]) -> str:
        run = self._client.create_run(self._experiment, run_name=name, tags=tags)
        identity = str(run.info.run_id)
        # Saved at once, so that the next call deletes an incomplete MLflow run.
        self._known.keep([*self._known.ids, identity])
        return identity

    def _write(self, identity: str, row: TrackedRow) -> None:
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        metrics = [Metric(_plain(name), value, now, 0) for name, value in row.metrics.items()]
        params = [Param(_plain(name), value) for name, value in row.parameters.items()]
        for start in range(0, max(len(metrics), len(params)), _MOST):
            span = slice(start, start + _MOST)
            self._client.log_batch(identity, metrics[span], params[span])
        self._client.set_terminated(identity)

    def _delete(self, identity: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            run: Any = self._client.get_run(identity)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return
            raise
        if run.info.lifecycle_stage == "active":
            self._client.delete_run(identity)


def _plain(name: str) -> str:
    """Replaces the characters that MLflow does not allow in a name."""
    return re.sub(r"[^\w\-. /]", "_", name)
