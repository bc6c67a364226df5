"""What a tracker is: it logs the measured rows of a finished evaluation by its own library.

Row keys, digests and signatures depend on no tracker. A tracker imports its library only when it
logs, and sends nothing over a network unless the job says so.
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
"""The folder in a run's folder that trackers write to."""
INSTALL = "pip install 'pixvox-bench[tracking]'"


@dataclass(frozen=True, kw_only=True)
class TrackedRow:
    """One measured row of a reading's tables.

    `key` is the hash of the row's transcripts and reading, `name` what people read. `metrics` are
    `score/NAME`, `low/NAME` and `high/NAME` (the ends of the interval).
    """

    key: str
    name: str
    metrics: Mapping[str, float]
    parameters: Mapping[str, str]

    @property
    def slug(self) -> str:
        """The row's name and key as a file's name."""
        plain = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:80]
        return f"{plain}-{self.key[:8]}"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is logged of one run: its measured rows, and the files of its tables."""

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
"""An address that a run's files may show."""
Named = Annotated[Label, Field(pattern=r"^[^/\\]+$", description="a name without / and \\")]
"""A project's or experiment's name."""


class Tracker(Strict):
    """One kind of tracker. `title` is what messages call it."""

    title: ClassVar[str]

    @abstractmethod
    def modules(self) -> tuple[str, ...]:
        """The modules that logging imports."""

    def check(self) -> None:
        """Raises UserError, before anything is run, where logging is known to fail."""
        lacking = [name for name in self.modules() if importlib.util.find_spec(name) is None]
        if lacking:
            raise UserError(
                f"tracking: {self.title} needs {' and '.join(lacking)}, which is not installed; "
                f"{INSTALL}, or remove the key"
            )

    @abstractmethod
    def log(self, evaluation: Evaluation, folder: Path) -> str:
        """Logs all rows in place of those of an earlier call, and returns where they are.

        `folder` is the run's folder for trackers, which need not exist yet. Raises whatever its
        library raises.
        """
