"""What an engine is asked for, and what it gives back."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Request:
    """One speech to make: of which row of the images, after which prompt `[K, P]` (P may be 0).

    `seed` is that of its noise, the engine's where it is None; `candidate` numbers the speeches of
    which one is kept.
    """

    item: str
    image: int
    prompt: Tensor
    seed: int | None = None
    candidate: int = 0

    def check(self, codebooks: int, frames: int, size: int) -> None:
        """Raises ValueError where the prompt is not of units below `size` or leaves no room."""
        item, prompt = self.item, self.prompt
        if prompt.ndim != 2 or len(prompt) != codebooks or prompt.shape[1] >= frames:
            raise ValueError(
                f"{item}: a prompt of {tuple(prompt.shape)} does not fit {codebooks} "
                f"codebooks and {frames} frames; raise max_seconds or cut the prompt"
            )
        if prompt.is_floating_point() or prompt.dtype == torch.bool:
            raise ValueError(f"{item}: a prompt of {prompt.dtype}; give units, whole numbers")
        if prompt.numel() and not 0 <= int(prompt.min()) <= int(prompt.max()) < size:
            raise ValueError(
                f"{item}: a prompt has units from {int(prompt.min())} to {int(prompt.max())}, and "
                f"the codec's are 0 to {size - 1}; encode it with the model's own codec"
            )


@dataclass(frozen=True)
class Generation:
    """Units `[K, N]`, prompt included, and whether the model ended the speech itself.

    A `reason` says why there are none. Where candidates were drawn, `sureness` is the mean
    log-probability, given the image, of the first codebook's units that were chosen, in nats.
    """

    item: str
    units: Tensor
    ended: bool
    reason: str = ""
    sureness: float = 0.0
