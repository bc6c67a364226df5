"""The time that actors compute: the CPU time of a run, and the cost of each speech."""

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bench.common.machine import processor
from bench.execution.energy import EnergyMeter, energy_meter, no_energy
from bench.store.costs import Cost

_ANSWER_SECONDS = 2.0


class Reading(NamedTuple):
    """What the clocks of a process show: the wall's, its processors', and its GPU's energy in J."""

    seconds: float
    cpu_seconds: float
    joules: float = 0.0


class Clocked:
    """An actor that reports how much CPU time it has used since it was ready, and for which speech.

    On a GPU it reports 0, because its CPU time is not the time of its work.
    """

    _since: float | None = None
    _device_name = "cpu"
    _processor = ""
    _energy: EnergyMeter = staticmethod(no_energy)
    _costs: Mapping[str, Cost] = {}

    def start_clock(self, device: str, name: str = "cpu") -> None:
        """Starts the clock of an actor that computes on `device`; `name` is the GPU's, or `cpu`."""
        self._since = time.process_time() if device == "cpu" else None
        self._device_name, self._processor = name, processor()
        self._energy = energy_meter() if name != "cpu" else no_energy

    def cpu_seconds(self) -> float:
        """Returns the CPU seconds of all threads of the process since `start_clock`."""
        return time.process_time() - self._since if self._since is not None else 0.0

    def reading(self) -> Reading:
        """Returns what the clocks show now."""
        return Reading(time.perf_counter(), time.process_time(), self._energy())

    def add_cost(
        self,
        since: Reading,
        frames: Mapping[str, Sequence[int]],
        *,
        price: float = 0.0,
        alone: str = "",
    ) -> None:
        """Adds the time since a reading, and a price, to the costs of speeches.

        `frames` are those of each row, by its speech: a batch of several is divided by them.
        `alone` is the item of a batch of one row whose latency is asked for. That of the first row
        of a speech is left out: it loads and compiles.
        """
        now = self.reading()
        rows = sum(map(len, frames.values()))
        total = sum(max(sum(each), 1) for each in frames.values())
        costs = dict(self._costs)
        for name, each in frames.items():
            share = max(sum(each), 1) / total
            is_timed = bool(alone) and name in costs
            cost = Cost(
                device=self._device_name,
                processor=self._processor,
                rows=len(each),
                calls=1,
                batch_rows=rows,
                seconds=share * (now.seconds - since.seconds),
                cpu_seconds=share * (now.cpu_seconds - since.cpu_seconds),
                price=price * len(each) / rows,
                joules=share * (now.joules - since.joules),
                alone={alone: now.seconds - since.seconds} if is_timed else {},
                peak_bytes=_peak_bytes(self._device_name != "cpu"),
            )
            costs[name] = costs[name].plus(cost) if name in costs else cost
        self._costs = costs

    def costs(self) -> Mapping[str, Cost]:
        """Returns the costs of speeches so far, by the names given to `add_cost`."""
        return self._costs


def _peak_bytes(on_gpu: bool) -> int:
    """Returns the highest memory use of this process so far, of the GPU or of its own memory."""
    if on_gpu:
        import torch

        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # ru_maxrss is in kilobytes on Linux, in bytes on macOS.
    return peak if sys.platform == "darwin" else 1024 * peak


def total_cpu_seconds(actors: Sequence[Any]) -> float:
    """Returns the CPU seconds of idle actors.

    Returns 0, which means unknown, if an actor does not answer or reports 0.
    """
    answers = _answers(actors, "cpu_seconds")
    return float(sum(answers)) if all(answers) else 0.0


def costs_of(actors: Sequence[Any]) -> list[Mapping[str, Cost]]:
    """Returns the costs that each idle actor reports; [] if one does not answer."""
    return _answers(actors, "costs")


def _answers(actors: Sequence[Any], method: str) -> list[Any]:
    """Returns the answers of all actors; [] if one does not answer or has no such method."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError

    if not all(hasattr(actor, method) for actor in actors):
        return []
    try:
        asked = [getattr(actor, method).remote() for actor in actors]
        return list(ray.get(asked, timeout=_ANSWER_SECONDS))
    except (GetTimeoutError, RayError):
        return []
