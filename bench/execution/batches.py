"""What a pool is given to work through, and what it gives back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


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
