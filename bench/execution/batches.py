"""The batches that a pool works through, and their results."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")

ROUNDS = 3
"""A later batch has items for this many rounds of a generator's slots."""


def batch_sizes(each: Sequence[int], share: int) -> tuple[int, int]:
    """Returns the number of items of a model's first batch, and the most that a later one has.

    `each` holds, for every setting that items are generated with, how many items fill a generator's
    slots once; the smallest decides. `share` is the number of items for each generator. The first
    batch fills the slots once, so that transcribers get work soon. Later batches fill them ROUNDS
    times, so that a slot whose row has ended gets another.
    """
    fill = min(each)
    most = max(1, min(ROUNDS * fill // each.count(fill), share))
    return min(most, max(1, fill // each.count(fill))), most


@dataclass
class Batch(Generic[T]):
    """Items that an actor gets in one message. `tag` comes back with the result.

    `deaths` counts the actors that died or hung while they worked on it.
    """

    tag: Any
    items: Sequence[T]
    deaths: int = 0


@dataclass(frozen=True, kw_only=True)
class Done(Generic[T]):
    """A finished batch: its result, or, for a single item, the reason of its failure.

    With `machine`, the failure is of the actor or its machine, so another run may succeed.
    """

    tag: Any
    items: Sequence[T]
    result: Any = None
    failure: str = ""
    machine: bool = False
