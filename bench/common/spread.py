"""A function of many items, which may be computed in other processes."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol


class Work(Protocol):
    """Computes results from values; it is pickled where other processes compute.

    `for_gpu` says whether a GPU may compute it; `to` moves it to a device of PyTorch.
    """

    for_gpu: bool

    def __call__(self, values: Sequence[Any]) -> Sequence[Any]:
        """Returns one result for each value, in order."""
        ...

    def to(self, device: str) -> None:
        """Computes on `device` from now on."""
        ...


@dataclass(frozen=True, kw_only=True)
class Task:
    """`work` over items 0 to `count` - 1, up to `batch` at once.

    `read` returns an item's value, in the process that has the files, and `name` its name in
    messages.
    """

    work: Work
    count: int
    batch: int
    read: Callable[[int], Any]
    name: Callable[[int], str]


Compute = Callable[[Task], Generator[tuple[int, Any], None, None]]
"""Yields every item's number and result, in any order; to be closed where it is left early."""


def compute_here(task: Task) -> Generator[tuple[int, Any], None, None]:
    """Computes in this process, in order."""
    for start in range(0, task.count, task.batch):
        numbers = range(start, min(start + task.batch, task.count))
        yield from zip(numbers, task.work([task.read(n) for n in numbers]), strict=True)


@contextmanager
def single_thread() -> Iterator[None]:
    """Makes PyTorch compute on one thread, so that sums do not depend on the number of cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
