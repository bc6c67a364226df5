"""What an engine is asked for, and what it gives back."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Request:
    """One speech to make: of which row of the images, after which prompt `[K, P]` (P may be 0).

    `seed` is that of its noise, the engine's where it is None.
    """

    item: str
    image: int
    prompt: Tensor
    seed: int | None = None


@dataclass(frozen=True)
class Generation:
    """Units `[K, N]`, prompt included, and whether the model ended the speech itself.

    A `reason` says why there are none.
    """

    item: str
    units: Tensor
    ended: bool
    reason: str = ""
