"""How long actors compute: the work of a run, beside which its time can be held."""

import time
from collections.abc import Sequence
from typing import Any

_ANSWER_SECONDS = 2.0


class Clocked:
    """An actor that tells how much CPU time it has used since it was ready.

    One that computes on a GPU tells nothing: what its CPU does is not its work.
    """

    _since: float | None = None

    def start_clock(self, device: str) -> None:
        """From now on what is computed is work."""
        self._since = time.process_time() if device == "cpu" else None

    def cpu_seconds(self) -> float:
        """CPU seconds since then, of all threads of the process."""
        return time.process_time() - self._since if self._since is not None else 0.0


def spent(actors: Sequence[Any]) -> float:
    """CPU seconds of actors that have nothing in flight; 0, not known, where one does not tell."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError

    if not all(hasattr(actor, "cpu_seconds") for actor in actors):
        return 0.0
    try:
        asked = [actor.cpu_seconds.remote() for actor in actors]
        told = ray.get(asked, timeout=_ANSWER_SECONDS)
    except (GetTimeoutError, RayError):
        return 0.0
    return float(sum(told)) if all(told) else 0.0
