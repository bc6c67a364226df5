"""Spoken captions as training data, and their batches."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True)
class SpokenCaptions:
    """The training data.

    `units` has one `[K, N_i]` tensor for each caption, and `image_of` its row in `images`. `images`
    are either uint8 pictures `[I, 3, H, W]` or states `[I, P, M_vision]` that the frozen image
    encoder computed once. If `mirrored`, the same for pictures mirrored left to right follow: `[2I,
    …]`.
    """

    units: Sequence[Tensor]
    image_of: Sequence[int]
    images: npt.NDArray[Any]
    mirrored: bool = False

    def targets(self, rows: Sequence[int]) -> int:
        """Returns how many units a codebook predicts in these rows: every frame and the end."""
        return sum(self.units[row].shape[-1] + 1 for row in rows)

    def only(self, rows: Sequence[int]) -> "SpokenCaptions":
        """Returns some of the rows, over the same images."""
        return replace(
            self,
            units=[self.units[row] for row in rows],
            image_of=[self.image_of[row] for row in rows],
        )

    def speech(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Returns units `[B, K, N]` padded with 0, and lengths `[B]`."""
        chosen = [self.units[row] for row in rows]
        lengths = torch.tensor([units.shape[-1] for units in chosen])
        padded = torch.zeros(len(rows), chosen[0].shape[0], int(lengths.max()), dtype=torch.long)
        for index, units in enumerate(chosen):
            padded[index, :, : units.shape[-1]] = units
        return padded, lengths

    def states(self, rows: Sequence[int], mirror: Sequence[bool] = ()) -> Tensor:
        """Returns the rows of `images` for these captions, mirrored where `mirror` is True."""
        places = np.array([self.image_of[row] for row in rows])
        if any(mirror):
            places += np.array(mirror) * (len(self.images) // 2)
        return torch.from_numpy(np.asarray(self.images[places]))

    def batch(
        self, rows: Sequence[int], mirror: Sequence[bool] = ()
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns units `[B, K, N]` padded with 0, lengths `[B]`, and the rows of `images`."""
        return *self.speech(rows), self.states(rows, mirror)
