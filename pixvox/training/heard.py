"""Speech as a frozen decoder hears it: computed once, kept in a file, read step after step."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pixvox.modeling import PixVoxLM
from pixvox.training.captions import SpokenCaptions
from pixvox.training.precision import precision

_TOGETHER = 32
"""Captions that are heard at once: sorted by length, they are padded less."""


@dataclass(frozen=True)
class Heard:
    """What the decoder's last layer held after every step of every speech, without a picture.

    `states` `[S, M]` (float16) holds all speeches' steps one after the other, that of row i from
    `starts[i]` on; `data` is what was heard.
    """

    states: npt.NDArray[Any]
    starts: npt.NDArray[np.int64]
    data: SpokenCaptions

    def batch(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """States `[B, T, M]`, float32, and which of them are the speech's own `[B, T]`."""
        lengths = [int(self.starts[row + 1] - self.starts[row]) for row in rows]
        states = torch.zeros(len(rows), max(lengths), self.states.shape[1])
        counted = torch.zeros(states.shape[:2], dtype=torch.bool)
        for index, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            start = int(self.starts[row])
            states[index, :length] = torch.from_numpy(self.states[start : start + length].copy())
            counted[index, :length] = True
        return states, counted

    def images(self, rows: Sequence[int]) -> Tensor:
        """The image states `[B, P, M_vision]` of the rows, float32."""
        image_of = [self.data.image_of[row] for row in rows]
        return torch.from_numpy(np.asarray(self.data.images[image_of])).float()


@torch.no_grad()
def hear(
    model: PixVoxLM, data: SpokenCaptions, file: Path, report: Callable[[str, int, int], None]
) -> Heard:
    """Hears all speech of `data`, or takes it from `file`, whose name says what it is of."""
    config, device = model.config, next(model.parameters()).device
    steps = [len(config.layout(units.shape[-1] + 1).steps) for units in data.units]
    starts = np.concatenate([[0], np.cumsum(steps)])
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(f".{os.getpid()}.part")
        shape = (int(starts[-1]), config.hidden_size)
        states: npt.NDArray[Any] = np.lib.format.open_memmap(partial, "w+", np.float16, shape)
        order = sorted(range(len(steps)), key=steps.__getitem__)
        try:
            for done in range(0, len(order), _TOGETHER):
                rows = order[done : done + _TOGETHER]
                units, lengths, _ = (part.to(device) for part in data.batch(rows))
                with precision("auto", device):
                    heard, counted = model.listen(units, lengths)
                for row, one, own in zip(rows, heard.half().cpu(), counted.cpu(), strict=True):
                    states[starts[row] : starts[row + 1]] = one[own].numpy()
                report("speech heard", done + len(rows), len(order))
            partial.replace(file)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    return Heard(np.load(file, mmap_mode="r"), starts, data)
