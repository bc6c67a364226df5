"""Reads batches while the previous step is computed."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

K = TypeVar("K")
V = TypeVar("V")


def prefetched(load: Callable[[K], V], keys: Iterable[K]) -> Iterator[V]:
    """Yields `load(key)` of every key, in order; a thread loads the next one meanwhile.

    Nothing is loaded before the first request, and at most one more than was requested.
    """
    with ThreadPoolExecutor(1) as thread:
        waiting: Future[V] | None = None
        for key in keys:
            following = thread.submit(load, key)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def pinned(values: Tensor, device: torch.device) -> Tensor:
    """Returns a CPU tensor in pinned memory for copies to a GPU; unchanged for a CPU."""
    return values.pin_memory() if device.type == "cuda" else values
