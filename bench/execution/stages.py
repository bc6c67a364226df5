"""How busy each stage of a run was, and which stage the others waited for.

It is written to `pace.json` in the run's folder. It is no result: it depends on the machine.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from bench.common.atomic import write_text
from bench.common.errors import UserError
from bench.common.yamlfile import read_small

PACE = "pace.json"
FULL = 0.9
"""A stage that is busy for this share of its time is reported as the bottleneck."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One kind of actor over a run.

    `seconds` are actor-seconds in all, `busy` those with a batch. `cpu` are the CPU seconds of its
    actors and `cores` the cores that all actors of the run shared. Both are 0 where they are
    unknown: on GPUs, on several machines, or where an actor was replaced.
    """

    name: str
    actors: int
    seconds: float
    busy: float
    items: int
    cpu: float = 0.0
    cores: int = 0

    @property
    def duty(self) -> float:
        """The share of its actors' time that was busy, 0 to 1."""
        return min(self.busy / self.seconds, 1.0) if self.seconds > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class Pace:
    """The duration of a run: `seconds` for all `rows`.

    `first` are the seconds until the first `first_rows` of them were there.
    """

    rows: int
    seconds: float
    first: float
    stages: tuple[Stage, ...]
    first_rows: int = 0

    @property
    def cores(self) -> int:
        """The number of cores that all actors shared; 0 if not known."""
        return min((stage.cores for stage in self.stages), default=0)

    @property
    def alone(self) -> float:
        """The actors' CPU seconds divided by the number of cores; 0 if not known.

        A run cannot take less time than this on the same cores.
        """
        known = self.cores and all(stage.cpu for stage in self.stages)
        return sum(stage.cpu for stage in self.stages) / self.cores if known else 0.0

    @property
    def efficiency(self) -> float:
        """`alone` as a share of the time from the first ready transcriber to the end, 0 to 1."""
        life = max((stage.seconds / stage.actors for stage in self.stages), default=0.0)
        return min(self.alone / life, 1.0) if life else 0.0

    @property
    def words(self) -> str:
        """One line that says how busy each stage was."""
        if not self.stages:
            return ""
        busiest = max(self.stages, key=lambda stage: stage.duty)
        waiting = [s for s in self.stages if s is not busiest]
        waited = "".join(f"; {s.name} waited {1 - s.duty:.0%} of its time" for s in waiting)
        lead = "was the bottleneck, " if busiest.duty >= FULL else ""
        cores = f"; cores at work {self.efficiency:.0%} of it" if self.alone else ""
        return (
            f"{busiest.name} {lead}{busiest.duty:.0%} busy{waited}{cores}; the first row after "
            f"{self.first:.1f} s, {self.rows / self.seconds:.2f} rows/s in all"
        )


def merge_stages(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Merges stages of the same name, as those of several ASRs or several models."""
    merged: dict[str, Stage] = {}
    for stage in stages:
        before = merged.get(
            stage.name, Stage(name=stage.name, actors=0, seconds=0.0, busy=0.0, items=0)
        )
        merged[stage.name] = Stage(
            name=stage.name,
            actors=max(before.actors, stage.actors),
            seconds=before.seconds + stage.seconds,
            busy=before.busy + stage.busy,
            items=before.items + stage.items,
            cpu=before.cpu + stage.cpu if stage.cpu and (before.cpu or not before.actors) else 0.0,
            cores=stage.cores,
        )
    return tuple(merged.values())


def keep_pace(folder: Path, pace: Pace) -> None:
    """Writes a run's pace into its folder, as `pace.json`."""
    write_text(folder / PACE, json.dumps(asdict(pace), indent=1) + "\n")


def read_pace(folder: Path) -> Pace | None:
    """Returns the pace of the run in `folder`; None where the file is missing or unreadable."""
    try:
        text = read_small(folder / PACE, 1_000_000)
        return TypeAdapter(Pace).validate_json(text)
    except (UserError, OSError, ValidationError):
        return None
