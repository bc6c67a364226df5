"""A pool of like actors that work through batches, whatever happens to the actors.

Two batches are in flight on each actor, so none waits for the driver. A batch whose actor died
is tried again on a new one; a batch that killed two, or raised, is halved until the one bad item
is found, which is given back as failed. A batch past its deadline has its actor replaced.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")

IN_FLIGHT = 2
DEATHS_TO_SPLIT = 2


@dataclass
class Batch(Generic[T]):
    """Items to be worked on together; `tag` comes back with the result."""

    tag: Any
    items: Sequence[T]
    deaths: int = 0


@dataclass(frozen=True)
class Done(Generic[T]):
    """A finished batch: its result, or, for a single bad item, why it failed."""

    tag: Any
    items: Sequence[T]
    result: Any = None
    failure: str = ""


@dataclass
class _Worker(Generic[T]):
    handle: Any
    queue: deque[tuple[Any, Batch[T]]] = field(default_factory=deque)
    since: float = 0.0


class Pool(Generic[T]):
    """`start` makes one actor; `message` turns a batch into the argument of its `work`."""

    def __init__(
        self,
        start: Callable[[], Any],
        size: int,
        message: Callable[[Batch[T]], Any],
        deadline: float,
    ) -> None:
        self._start = start
        self._message = message
        self._deadline = deadline
        self._waiting: deque[Batch[T]] = deque()
        self._workers = [_Worker[T](handle) for handle in self._ready(size)]

    def _ready(self, count: int) -> list[Any]:
        """Starts actors and waits for them: one that cannot start is no item's fault.

        Raises RuntimeError with the reason.
        """
        import ray
        from ray.exceptions import RayError

        handles = [self._start() for _ in range(count)]
        try:
            ray.get([handle.__ray_ready__.remote() for handle in handles])
        except RayError as error:
            reason = " ".join(str(error).strip().splitlines()[-1:]) or type(error).__name__
            raise RuntimeError(f"an actor did not start: {reason}; run: pixvox doctor") from error
        return handles

    def submit(self, batch: Batch[T]) -> None:
        """Queues a batch."""
        self._waiting.append(batch)

    @property
    def busy(self) -> bool:
        """Whether anything is queued or in flight."""
        return bool(self._waiting) or any(worker.queue for worker in self._workers)

    def poll(self, timeout: float) -> Iterator[Done[T]]:
        """Hands out batches, waits at most `timeout` seconds, and yields what is finished."""
        import ray

        self._hand_out()
        heads = {w.queue[0][0]: w for w in self._workers if w.queue}
        if not heads:
            return
        ready, _ = ray.wait(list(heads), num_returns=1, timeout=timeout)
        if ready:
            ready, _ = ray.wait(list(heads), num_returns=len(heads), timeout=0)
        for reference in ready:
            yield from self._collect(heads[reference])
        now = time.monotonic()
        for worker in self._workers:
            if worker.queue and now - worker.since > self._deadline:
                yield from self._bury(worker, f"no result within {self._deadline:.0f} s")

    def close(self) -> None:
        """Ends the actors."""
        import ray

        for worker in self._workers:
            ray.kill(worker.handle)
        self._workers = []

    def _hand_out(self) -> None:
        for depth in range(IN_FLIGHT):
            for worker in self._workers:
                if self._waiting and len(worker.queue) == depth:
                    batch = self._waiting.popleft()
                    if not worker.queue:
                        worker.since = time.monotonic()
                    reference = worker.handle.work.remote(self._message(batch))
                    worker.queue.append((reference, batch))

    def _collect(self, worker: _Worker[T]) -> Iterator[Done[T]]:
        import ray
        from ray.exceptions import RayActorError, RayError

        reference, batch = worker.queue[0]
        try:
            result = ray.get(reference)
        except RayActorError as error:
            yield from self._bury(worker, f"its actor died ({type(error).__name__})")
            return
        except RayError as error:
            worker.queue.popleft()
            worker.since = time.monotonic()
            reason = " ".join(str(error).strip().splitlines()[-1:]) or type(error).__name__
            yield from self._split(batch, reason)
            return
        worker.queue.popleft()
        worker.since = time.monotonic()
        yield Done(batch.tag, batch.items, result)

    def _bury(self, worker: _Worker[T], reason: str) -> Iterator[Done[T]]:
        """Replaces a dead or stuck actor; only the batch it was at is under suspicion."""
        import ray

        ray.kill(worker.handle)
        (_, suspect), *others = list(worker.queue)
        worker.queue.clear()
        (worker.handle,) = self._ready(1)
        for _, batch in reversed(others):
            self._waiting.appendleft(batch)
        suspect.deaths += 1
        if suspect.deaths < DEATHS_TO_SPLIT:
            self._waiting.appendleft(suspect)
        else:
            yield from self._split(suspect, reason)

    def _split(self, batch: Batch[T], reason: str) -> Iterator[Done[T]]:
        if len(batch.items) == 1:
            yield Done(batch.tag, batch.items, failure=reason)
            return
        middle = len(batch.items) // 2
        for half in (batch.items[middle:], batch.items[:middle]):
            self._waiting.appendleft(Batch(batch.tag, half))
