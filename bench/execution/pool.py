"""A pool of actors of one class that works through batches and replaces actors that fail.

Two batches are in flight on each actor, so that it does not wait for the driver. A batch whose
actor died is retried alone on a new actor. A batch that killed two actors, or that raised, is
halved until it is a single item, which is returned as failed. An actor whose batch exceeds the
deadline is replaced. The other actors continue meanwhile. The place of an actor that fails to start
repeatedly, or that raises ActorUnusable, is given up.
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from bench.common.errors import ActorUnusable, RunFailed, UserError
from bench.common.machinefaults import device_lost, is_machines
from bench.common.text import clean, reason_of
from bench.execution.batches import Batch, Done
from bench.execution.stages import Stage
from bench.execution.worktime import costs_of, total_cpu_seconds
from bench.store.costs import Cost

T = TypeVar("T")

IN_FLIGHT = 2
DEATHS_TO_SPLIT = 2
START_SECONDS = 60.0
"""Seconds that an actor may take to start, also where the deadline of a batch is shorter."""
_USERS = f"{UserError.__module__}.{UserError.__name__}: "
"""The start of the reason of an actor that raised UserError."""
STARTS = 3
"""The place of an actor is given up after this many failed starts in a row."""


@dataclass(kw_only=True)
class _Worker(Generic[T]):
    """An actor and the batches in flight on it.

    `place` is its number in the pool, which its replacements have too; `ready` is the reference of
    its start, None once it has started; `since` is when its start or its first batch began, in
    seconds of the monotonic clock; `node` is the id of its node.
    """

    place: int
    handle: Any
    ready: Any
    since: float
    queue: deque[tuple[Any, Batch[T]]] = field(default_factory=deque)
    failed_starts: int = 0
    node: str = ""


def _is_machines(error: Exception) -> bool:
    """Returns whether a batch failed for lack of memory or disk space, so a retry may succeed."""
    cause = getattr(error, "cause", None)
    return isinstance(cause, OSError | MemoryError) or is_machines(error, str(error))


_UNUSABLE = f"{ActorUnusable.__name__}: "


def _start_fault(error: Exception) -> str:
    """Returns why an actor did not start, and what to do. An ActorUnusable says both itself."""
    # Ray reports an exception of an actor's constructor as the text of its traceback.
    reason = reason_of(error)
    _, known, message = reason.partition(_UNUSABLE)
    return message if known else f"an actor did not start: {reason}; run: pixvox doctor JOB"


def _where(actor: object) -> str:
    """Returns the id of the node that an actor runs on; Ray calls it in the actor."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


def wait(pools: Iterable["Pool[Any]"], seconds: float) -> None:
    """Blocks until `collect` of any pool has a result, for at most `seconds`.

    The pools are waited for together, because waiting for one delays new work for the others.
    """
    import ray

    if heads := [head for pool in pools for head in pool.heads]:
        ray.wait(heads, num_returns=1, timeout=seconds)


class Pool(Generic[T]):
    """Actors of one class and the batches that wait for them.

    `start` starts the actor of a place, numbered from 0. `message` turns a batch into the argument
    of the actor's `work`. `deadline` is in seconds a batch. Batches come from `submit` and, when
    none of those waits, from `source`. All actors start at once, and each gets work as soon as it
    has started.
    """

    def __init__(
        self,
        start: Callable[[int], Any],
        size: int,
        message: Callable[[Batch[T]], Any],
        deadline: float,
        *,
        source: Iterator[Batch[T]] | None = None,
    ) -> None:
        self._start = start
        self._message = message
        self._deadline = deadline
        self._waiting: deque[Batch[T]] = deque()
        self._suspects: deque[Batch[T]] = deque()
        self._source = source
        self._workers = [self._starting(place) for place in range(size)]
        self._failed: list[_Worker[T]] = []
        self._size, self._since, self._until = size, 0.0, 0.0
        self._busy, self._cpu, self._items = 0.0, 0.0, 0
        self._replaced = False
        self.costs: list[Mapping[str, Cost]] = []

    def _starting(self, place: int) -> _Worker[T]:
        handle = self._start(place)
        return _Worker(
            place=place,
            handle=handle,
            ready=handle.__ray_call__.remote(_where),
            since=time.monotonic(),
        )

    def _restart(self, worker: _Worker[T]) -> None:
        fresh = self._starting(worker.place)
        worker.handle, worker.ready, worker.since = fresh.handle, fresh.ready, fresh.since

    @property
    def nodes(self) -> list[str] | None:
        """The id of each actor's node; None while an actor is starting."""
        if any(worker.ready is not None for worker in self._workers):
            return None
        return [worker.node for worker in self._workers]

    def submit(self, batch: Batch[T]) -> None:
        """Queues a batch."""
        self._waiting.append(batch)

    @property
    def waiting(self) -> int:
        """The number of submitted batches that no actor has been given yet."""
        return len(self._waiting) + len(self._suspects)

    @property
    def busy(self) -> bool:
        """Whether a batch is queued, in flight, or still to come from the source."""
        self._fill()
        return bool(self._waiting or self._suspects or self.in_flight)

    @property
    def draining(self) -> bool:
        """Whether no batch is left to hand out; the last may still be in flight."""
        self._fill()
        return not (self._waiting or self._suspects)

    @property
    def in_flight(self) -> int:
        """The number of batches that actors have been given and have not returned."""
        return sum(len(worker.queue) for worker in self._workers)

    def hand_out(self) -> None:
        """Gives every started actor batches until IN_FLIGHT are in flight on it.

        A batch whose actor died runs alone.
        """
        for depth in range(IN_FLIGHT):
            for worker in self._workers:
                if worker.ready is not None or len(worker.queue) != depth:
                    continue
                if worker.queue and worker.queue[0][1].deaths:
                    continue
                suspect = depth == 0 and self._suspects
                batch = self._suspects.popleft() if suspect else self._next()
                if batch is None:
                    return
                if not worker.queue:
                    worker.since = time.monotonic()
                reference = worker.handle.work.remote(self._message(batch))
                worker.queue.append((reference, batch))

    @property
    def heads(self) -> dict[Any, _Worker[T]]:
        """The reference that each actor answers next: of its start or of its first batch."""
        return {
            w.ready if w.ready is not None else w.queue[0][0]: w
            for w in self._workers
            if w.ready is not None or w.queue
        }

    def collect(self) -> Iterator[Done[T]]:
        """Yields the batches that are finished, and replaces actors past their deadline.

        Raises RunFailed where no actor is left or none starts, UserError as `_take_start`.
        """
        import ray

        heads = self.heads
        if not heads:
            return
        ready, _ = ray.wait(list(heads), num_returns=len(heads), timeout=0)
        # Results first: a start that fails may end the run.
        answered = [heads[reference] for reference in ready]
        for worker in sorted(answered, key=lambda w: w.ready is not None):
            if worker.ready is not None:
                self._take_start(worker)
            else:
                yield from self._collect(worker)
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.ready is None and worker.queue and now - worker.since > self._deadline:
                yield from self._replace(worker, f"no result within {self._deadline:.0f} s")
        self._check_starts(now)

    def _check_starts(self, now: float) -> None:
        """Raises RunFailed where no actor has started within the deadline, at least a minute."""
        limit = max(self._deadline, START_SECONDS)
        if any(w.ready is None or now - w.since <= limit for w in self._workers):
            return
        if not self._since:
            raise RunFailed(
                f"none of {self._size} actors started within {limit:.0f} s; free the machine, or "
                "ask for fewer (cluster.generators, cluster.transcribers)"
            )
        raise RunFailed(
            f"no actor could be placed within {limit:.0f} s; check that there are still nodes with "
            "free cores and GPUs"
        )

    def close(self) -> None:
        """Ends the actors; `costs` then has the costs that idle actors reported."""
        import ray

        idle = [w.handle for w in self._workers if w.ready is None and not w.queue]
        self._cpu, self.costs = total_cpu_seconds(idle), costs_of(idle)
        for worker in self._workers:
            ray.kill(worker.handle)
        self._workers = []
        self._until = time.monotonic()

    @property
    def life(self) -> float:
        """Seconds from the start of the first actor until the pool was closed, or until now."""
        until = self._until or time.monotonic()
        return until - self._since if self._since else 0.0

    def stage(self, name: str, seconds: float) -> Stage:
        """Returns how busy the actors were in a run of so many seconds.

        The time of a batch starts when its actor is free and ends when its result is collected.
        """
        cpu = 0.0 if self._replaced else self._cpu
        return Stage(
            name=name,
            actors=self._size,
            seconds=self._size * seconds,
            busy=self._busy,
            items=self._items,
            cpu=cpu,
        )

    def _fill(self) -> None:
        """Queues the source's next batch if no batch is waiting."""
        if not self._waiting and self._source is not None:
            following = next(self._source, None)
            if following is None:
                self._source = None
            else:
                self._waiting.append(following)

    def _next(self) -> Batch[T] | None:
        self._fill()
        return self._waiting.popleft() if self._waiting else None

    def _take_start(self, worker: _Worker[T]) -> None:
        """Handles the answer of an actor that was starting.

        An exception of the constructor is probably the same in all actors, so each actor is tried
        once until one of them has started. After that, or where its node or process died, an actor
        is tried STARTS times before its place is given up. Raises RunFailed where no actor is left,
        and UserError where a constructor raised it before any actor had started.
        """
        import ray
        from ray.exceptions import RayError

        try:
            worker.node = ray.get(worker.ready)
        except RayError as error:
            reason = reason_of(error)
            if not self._since and reason.startswith(_USERS):
                raise UserError(reason.removeprefix(_USERS)) from error
            worker.failed_starts += 1
            raised = getattr(error, "actor_init_failed", True)
            if (self._since or not raised) and worker.failed_starts < STARTS:
                self._restart(worker)
            else:
                self._give_up(worker, _start_fault(error))
            return
        worker.ready, worker.failed_starts = None, 0
        if not self._since:
            self._since = time.monotonic()
            for failed in self._failed:
                self._restart(failed)
                self._workers.append(failed)
            self._failed.clear()

    def _give_up(self, worker: _Worker[T], reason: str) -> None:
        """Ends an actor and does not replace it; raises RunFailed where it was the last."""
        import ray

        ray.kill(worker.handle)
        self._workers.remove(worker)
        for _, batch in reversed(worker.queue):
            self._waiting.appendleft(batch)
        worker.queue.clear()
        if not self._workers:
            raise RunFailed(reason)
        if not self._since:
            self._failed.append(worker)
            return
        self._replaced = True
        left = f"the run continues with {len(self._workers)} of {self._size} such actors"
        print(clean(f"{reason}; {left}"), file=sys.stderr, flush=True)

    def _collect(self, worker: _Worker[T]) -> Iterator[Done[T]]:
        import ray
        from ray.exceptions import RayActorError, RayError

        reference, batch = worker.queue[0]
        try:
            result = ray.get(reference)
        except RayActorError:
            # Which of Ray's errors reports the death depends on timing; the reason must not.
            yield from self._replace(worker, "its actor died")
            return
        except RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, ActorUnusable):
                self._give_up(worker, str(cause))
                return
            if device_lost(str(error)):
                # The device's context is lost with it: every later batch there would fail too.
                yield from self._replace(worker, reason_of(error))
                return
            worker.queue.popleft()
            worker.since = time.monotonic()
            yield from self._split(batch, reason_of(error), machine=_is_machines(error))
            return
        worker.queue.popleft()
        now = time.monotonic()
        self._busy += now - worker.since
        self._items += len(batch.items)
        worker.since = now
        yield Done(tag=batch.tag, items=batch.items, result=result)

    def _replace(self, worker: _Worker[T], reason: str) -> Iterator[Done[T]]:
        """Replaces a dead or stuck actor.

        The batch that it was working on is retried alone or split. The next one is queued again.
        """
        import ray

        ray.kill(worker.handle)
        (_, suspect), *unstarted = list(worker.queue)
        worker.queue.clear()
        self._restart(worker)
        for _, batch in reversed(unstarted):
            self._waiting.appendleft(batch)
        self._replaced = True
        suspect.deaths += 1
        if suspect.deaths < DEATHS_TO_SPLIT:
            self._suspects.append(suspect)
        else:
            yield from self._split(suspect, reason, machine=True)

    def _split(self, batch: Batch[T], reason: str, machine: bool) -> Iterator[Done[T]]:
        """Queues the halves of a batch; yields a single item as failed."""
        if len(batch.items) == 1:
            yield Done(tag=batch.tag, items=batch.items, failure=reason, machine=machine)
            return
        middle = len(batch.items) // 2
        for half in (batch.items[middle:], batch.items[:middle]):
            self._waiting.appendleft(Batch(batch.tag, half))
