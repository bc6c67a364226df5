"""What a pool is given to work through, and what it gives back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")

ROUNDS = 3
"""How many times a batch fills a generator's slots."""


def batch_sizes(each: Sequence[int], share: int) -> tuple[int, int]:
    """How many items a model's first batch has, and the most that a later one has.

    `each` is how many items fill the slots once in every way that they are generated in, and
    `share` how many items there are for each generator. The ways that fill them with the fewest
    decide, those of many candidates. Later batches fill the slots several times, so that rows are
    replaced; the first once, so that transcribers have something soon.
    """
    fill = min(each)
    most = max(1, min(ROUNDS * fill // each.count(fill), share))
    return min(most, max(1, fill // each.count(fill))), most


@dataclass
class Batch(Generic[T]):
    """Items to be worked on together; `tag` comes back with the result."""

    tag: Any
    items: Sequence[T]
    deaths: int = 0


@dataclass(frozen=True)
class Done(Generic[T]):
    """A finished batch: its result, or, for a single bad item, why it failed.

    `machine` says that an actor died or hung over it: another run may well succeed.
    """

    tag: Any
    items: Sequence[T]
    result: Any = None
    failure: str = ""
    machine: bool = False
