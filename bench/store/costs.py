"""What generating and decoding cost: seconds and memory of the machines that did it.

Kept in a run's `speed.json`, beside its results and never among them: no key, digest or golden may
depend on a machine. Rows that a killed run committed have no cost; what has one is counted.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from bench.common.atomic import write_text
from bench.common.errors import UserError
from bench.common.yamlfile import read_small

SPEED = "speed.json"
_MOST_BYTES = 16 * 1024 * 1024

CostStage = Literal["generating", "decoding"]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What some rows took on one machine's device, summed over the actors that made them.

    `calls` is how many batches they came in, and `batch_rows` how many rows those had in all, other
    speeches' included. `seconds` are those of the actors, `cpu_seconds` those
    of their processors, all threads; `peak_bytes` is the most memory that one actor held: of the
    GPU where `device` is one, else of its process. `price` is what a service behind a URL charged.
    `joules` are what a GPU used meanwhile, 0 where it does not tell. `alone` has the seconds of
    each item that was computed alone.
    """

    device: str
    processor: str
    rows: int
    calls: int
    batch_rows: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    price: float = 0.0
    joules: float = 0.0
    alone: Mapping[str, float] = field(default_factory=dict)

    @property
    def place(self) -> tuple[str, str]:
        """Its device and the processor of that device's machine."""
        return self.device, self.processor

    def plus(self, other: "Cost") -> "Cost":
        """Both together, of one device."""
        return Cost(
            device=self.device,
            processor=self.processor,
            rows=self.rows + other.rows,
            calls=self.calls + other.calls,
            batch_rows=self.batch_rows + other.batch_rows,
            seconds=self.seconds + other.seconds,
            cpu_seconds=self.cpu_seconds + other.cpu_seconds,
            peak_bytes=max(self.peak_bytes, other.peak_bytes),
            price=self.price + other.price,
            joules=self.joules + other.joules,
            alone={**self.alone, **other.alone},
        )


@dataclass(frozen=True)
class SpeechCost:
    """A cost of the rows of one speech key."""

    speech_key: str
    stage: CostStage
    cost: Cost


_Costs = TypeAdapter(tuple[SpeechCost, ...])


def read_costs(folder: Path) -> tuple[SpeechCost, ...]:
    """The costs of a run; nothing where there are none that can be read."""
    try:
        return _Costs.validate_json(read_small(folder / SPEED, _MOST_BYTES))
    except (UserError, OSError, ValidationError):
        return ()


def add_costs(folder: Path, costs: Iterable[SpeechCost]) -> None:
    """Adds costs to those of a run's folder; writes nothing where there are none to add."""
    new = tuple(costs)
    if new:
        summed = summed_costs((*read_costs(folder), *new))
        write_text(folder / SPEED, json.dumps([asdict(each) for each in summed], indent=1) + "\n")


def summed_costs(costs: Iterable[SpeechCost]) -> tuple[SpeechCost, ...]:
    """One cost for every speech, stage and device."""
    sums: dict[tuple[str, CostStage, str, str], Cost] = {}
    for each in costs:
        key = (each.speech_key, each.stage, each.cost.device, each.cost.processor)
        sums[key] = sums[key].plus(each.cost) if key in sums else each.cost
    return tuple(SpeechCost(key[0], key[1], cost) for key, cost in sums.items())


def with_keys(
    costs: Mapping[str, Cost], stage: CostStage, keys: Mapping[str, str]
) -> tuple[SpeechCost, ...]:
    """An actor's costs by the names it has for speeches, as costs of speech keys."""
    return tuple(SpeechCost(keys[name], stage, c) for name, c in costs.items() if name in keys)
