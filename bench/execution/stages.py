"""How busy each stage of a run was: who was waited for, and who waited.

Kept in a run's `pace.json`, beside its results and never among them: it is of one machine and hour.
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
"""Busy so much of its time, a stage is what all else waits for."""


@dataclass(frozen=True)
class Stage:
    """One kind of actor over a run: actor-seconds that there were, and how many were busy.

    `cpu` are the CPU seconds that its actors worked on `cores`, all those there were; 0 where that
    is not known, as on GPUs, on several machines, or where an actor died.
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
        """The share of its time that it was busy."""
        return min(self.busy / self.seconds, 1.0) if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class Pace:
    """What a run took: `seconds` in all, `first` until its first rows were there, `first_rows`."""

    rows: int
    seconds: float
    first: float
    stages: tuple[Stage, ...]
    first_rows: int = 0

    @property
    def cores(self) -> int:
        """The cores that all its actors shared; 0 if not known."""
        return min((stage.cores for stage in self.stages), default=0)

    @property
    def alone(self) -> float:
        """Seconds that what its actors computed takes with all cores at work; 0 if not known."""
        known = self.cores and all(stage.cpu for stage in self.stages)
        return sum(stage.cpu for stage in self.stages) / self.cores if known else 0.0

    @property
    def efficiency(self) -> float:
        """That time's share of the time from the first transcriber that was ready to the end."""
        life = max((stage.seconds / stage.actors for stage in self.stages), default=0.0)
        return min(self.alone / life, 1.0) if life else 0.0

    @property
    def words(self) -> str:
        """Which stage the others waited for, in one line."""
        if not self.stages:
            return ""
        busiest = max(self.stages, key=lambda stage: stage.duty)
        others = [s for s in self.stages if s is not busiest]
        waited = "".join(f"; {s.name} waited {1 - s.duty:.0%} of its time" for s in others)
        lead = "was the bottleneck, " if busiest.duty >= FULL else ""
        cores = f"; cores at work {self.efficiency:.0%} of it" if self.alone else ""
        return (
            f"{busiest.name} {lead}{busiest.duty:.0%} busy{waited}{cores}; the first row after "
            f"{self.first:.1f} s, {self.rows / self.seconds:.2f} rows/s in all"
        )


def together(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Stages of one name as one: those of several ASRs and of several models."""
    found: dict[str, Stage] = {}
    for one in stages:
        before = found.get(one.name, Stage(one.name, 0, 0.0, 0.0, 0))
        found[one.name] = Stage(
            one.name,
            max(before.actors, one.actors),
            before.seconds + one.seconds,
            before.busy + one.busy,
            before.items + one.items,
            before.cpu + one.cpu if one.cpu and (before.cpu or not before.actors) else 0.0,
            one.cores,
        )
    return tuple(found.values())


def keep_pace(folder: Path, pace: Pace) -> None:
    """Writes a run's pace into its folder."""
    write_text(folder / PACE, json.dumps(asdict(pace), indent=1) + "\n")


def read_pace(folder: Path) -> Pace | None:
    """A run's pace; None where there is none that can be read."""
    try:
        text = read_small(folder / PACE, 1_000_000)
        return TypeAdapter(Pace).validate_json(text)
    except (UserError, OSError, ValidationError):
        return None
