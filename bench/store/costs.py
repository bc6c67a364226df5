"""The cost of generating and decoding: seconds and memory of the machines that were used.

Costs are stored in a run's `speed.json`, apart from its results: no key, digest or golden may
depend on a machine. Rows that a killed run committed have no cost; all others are counted.
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
    """The cost of some rows on one machine's device, summed over the actors that computed them.

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
        """Returns the sum of two costs on one device."""
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
    """The cost of the rows with one speech key."""

    speech_key: str
    stage: CostStage
    cost: Cost


_Costs = TypeAdapter(tuple[SpeechCost, ...])


def read_costs(folder: Path) -> tuple[SpeechCost, ...]:
    """Returns the costs of a run; empty if there is no readable file."""
    try:
        return _Costs.validate_json(read_small(folder / SPEED, _MOST_BYTES))
    except (UserError, OSError, ValidationError):
        return ()


def add_costs(folder: Path, costs: Iterable[SpeechCost]) -> None:
    """Adds costs to those in a run's folder; writes nothing if there are none."""
    new = tuple(costs)
    if new:
        summed = summed_costs((*read_costs(folder), *new))
        write_text(folder / SPEED, json.dumps([asdict(each) for each in summed], indent=1) + "\n")


def summed_costs(costs: Iterable[SpeechCost]) -> tuple[SpeechCost, ...]:
    """Returns one cost for every speech, stage and device."""
    sums: dict[tuple[str, CostStage, str, str], Cost] = {}
    for each in costs:
        key = (each.speech_key, each.stage, each.cost.device, each.cost.processor)
        sums[key] = sums[key].plus(each.cost) if key in sums else each.cost
    return tuple(SpeechCost(key[0], key[1], cost) for key, cost in sums.items())


def with_keys(
    costs: Mapping[str, Cost], stage: CostStage, keys: Mapping[str, str]
) -> tuple[SpeechCost, ...]:
    """Returns an actor's costs under speech keys, in place of the actor's own names."""
    return tuple(SpeechCost(keys[name], stage, c) for name, c in costs.items() if name in keys)
