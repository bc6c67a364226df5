"""An engine's requests and results."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Request:
    """One speech to generate: its row of the images, and the prompt `[K, P]` (P may be 0).

    `seed` is the seed of its noise, None for the engine's; `candidate` is its number among
    candidates.
    """

    item: str
    image: int
    prompt: Tensor
    seed: int | None = None
    candidate: int = 0

    def check(self, codebooks: int, frames: int, size: int) -> None:
        """Raises ValueError unless the prompt has units below `size` and leaves room."""
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


@dataclass(frozen=True, kw_only=True)
class Generation:
    """Units `[K, N]`, prompt included, and whether the model ended the speech itself.

    `reason` says why there are no units, "" if there are. With candidates, `sureness` is the mean
    log-probability, given the image, of the first codebook's chosen units, in nats.
    """

    item: str
    units: Tensor
    ended: bool
    reason: str = ""
    sureness: float = 0.0
