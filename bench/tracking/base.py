"""The contract of trackers, which log the measured rows of a finished evaluation.

Row keys, digests and signatures do not depend on the tracker. A tracker imports its library only
when it logs, and sends nothing over a network unless the job asks for it.
"""

import importlib.util
import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from bench.common.bounds import Label
from bench.common.errors import UserError
from bench.common.yamlfile import Strict

TRACKING = "tracking"
"""The name of the folder, in a run's folder, that trackers write to."""
INSTALL = "pip install 'pixvox-bench[tracking]'"


@dataclass(frozen=True, kw_only=True)
class TrackedRow:
    """One measured row of a reading's tables.

    `key` is the hash of the row's transcripts and reading, and `name` the row's name in tables.
    `metrics` are `score/NAME`, `low/NAME` and `high/NAME` (the ends of the interval).
    """

    key: str
    name: str
    metrics: Mapping[str, float]
    parameters: Mapping[str, str]

    @property
    def slug(self) -> str:
        """The row's name and key as a name of a file."""
        plain = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:80]
        return f"{plain}-{self.key[:8]}"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The logged content of one run: its measured rows, and the files of its tables."""

    run: str
    rows: tuple[TrackedRow, ...]
    tables: tuple[Path, ...]


def _without_password(text: str) -> str:
    if re.search(r"://[^/?#]*@", text):
        raise ValueError(
            "names a user or password, and run.json would keep it; set MLFLOW_TRACKING_USERNAME "
            "and MLFLOW_TRACKING_PASSWORD instead"
        )
    return text


Address = Annotated[Label, AfterValidator(_without_password)]
"""An address without a user or password, which may be written to a run's files."""
Named = Annotated[Label, Field(pattern=r"^[^/\\]+$", description="a name without / and \\")]
"""A project's or experiment's name."""


class Tracker(Strict):
    """One kind of tracker; `title` is its name in messages."""

    title: ClassVar[str]

    @abstractmethod
    def modules(self) -> tuple[str, ...]:
        """Returns the modules that logging imports."""

    def check(self) -> None:
        """Raises UserError, before a run, where logging would fail."""
        lacking = [name for name in self.modules() if importlib.util.find_spec(name) is None]
        if lacking:
            raise UserError(
                f"tracking: {self.title} needs {' and '.join(lacking)}, which is not installed; "
                f"{INSTALL}, or remove the key"
            )

    @abstractmethod
    def log(self, evaluation: Evaluation, folder: Path) -> str:
        """Logs all rows, replacing those of an earlier call, and returns where they are.

        `folder` is the run's folder for trackers, which may not exist yet. The exceptions of the
        library are not caught.
        """
