"""Computes a task of many items by Ray actors, one for each core or GPU."""

from collections.abc import Generator
from typing import Any

from bench.common.errors import RunFailed, UserError
from bench.common.spread import Compute, Task, compute_here
from bench.execution.actors import device
from bench.execution.batches import Batch
from bench.execution.cluster import print_ray, sum_resources
from bench.execution.pool import Pool, wait
from bench.execution.session import ray_session
from bench.jobs.spec import ClusterSpec

FEWEST = 512
"""Items for which starting Ray pays: about half a minute of work of one core."""
_POLL_SECONDS = 0.25


class _Computer:
    """The actor: computes batches of values."""

    def __init__(self, work: Any) -> None:
        import torch

        torch.set_num_threads(1)
        self._work = work
        if work.for_gpu:
            work.to(device())

    def work(self, values: list[Any]) -> list[Any]:
        """Returns one result for each value, in order."""
        return list(self._work(values))


def compute_on_ray(address: str | None, fewest: int = FEWEST) -> Compute:
    """Returns a Compute on the cluster at `address`, or on a Ray of the command's own.

    The nodes need none of the driver's files. Fewer items than `fewest` are computed in this
    process. What it computes raises UserError where an item's work fails, and RunFailed where
    processes die over it.
    """

    def compute(task: Task) -> Generator[tuple[int, Any], None, None]:
        if task.count < fewest:
            yield from compute_here(task)
            return
        with ray_session(address):
            yield from _spread(task, address)

    return compute


def _spread(task: Task, address: str | None) -> Generator[tuple[int, Any], None, None]:
    import ray

    has = sum_resources(ray.nodes())
    print_ray(address, has)
    on_gpu = task.work.for_gpu and has.gpu_count > 0
    count = max(1, min(has.gpu_count if on_gpu else has.cores, -(-task.count // task.batch)))
    actor = ray.remote(num_cpus=0 if on_gpu else 1, num_gpus=1 if on_gpu else 0)(_Computer)
    work = ray.put(task.work)
    pool: Pool[int] = Pool(
        lambda place: actor.remote(work),
        count,
        lambda batch: [task.read(number) for number in batch.items],
        ClusterSpec().deadline_seconds,
        source=(
            Batch("", range(start, min(start + task.batch, task.count)))
            for start in range(0, task.count, task.batch)
        ),
    )
    try:
        while pool.busy:
            pool.hand_out()
            wait([pool], _POLL_SECONDS)
            for done in pool.collect():
                if done.failure:
                    kind = RunFailed if done.machine else UserError
                    raise kind(f"{task.name(done.items[0])}: {done.failure}")
                yield from zip(done.items, done.result, strict=True)
    finally:
        pool.close()
