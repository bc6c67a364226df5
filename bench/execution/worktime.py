"""The CPU time that actors compute, to be compared with the duration of a run."""

import time
from collections.abc import Sequence
from typing import Any

_ANSWER_SECONDS = 2.0


class Clocked:
    """An actor that reports how much CPU time it has used since it was ready.

    On a GPU it reports 0, because its CPU time is not the time of its work.
    """

    _since: float | None = None

    def start_clock(self, device: str) -> None:
        """Starts the clock of an actor that computes on `device`."""
        self._since = time.process_time() if device == "cpu" else None

    def cpu_seconds(self) -> float:
        """Returns the CPU seconds of all threads of the process since `start_clock`."""
        return time.process_time() - self._since if self._since is not None else 0.0


def total_cpu_seconds(actors: Sequence[Any]) -> float:
    """Returns the CPU seconds of actors that have nothing in flight.

    The sum is 0, which means unknown, where an actor does not answer or reports 0.
    """
    import ray
    from ray.exceptions import GetTimeoutError, RayError

    if not all(hasattr(actor, "cpu_seconds") for actor in actors):
        return 0.0
    try:
        references = [actor.cpu_seconds.remote() for actor in actors]
        seconds = ray.get(references, timeout=_ANSWER_SECONDS)
    except (GetTimeoutError, RayError):
        return 0.0
    return float(sum(seconds)) if all(seconds) else 0.0
