"""States of speech by a frozen decoder: computed once, stored in a file, read in every step."""

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
from pixvox.training.mapped import written
from pixvox.training.precision import precision

_TOGETHER = 32
"""Captions that are encoded together, sorted by length so that they need less padding."""


@dataclass(frozen=True)
class SpeechStates:
    """The states of the decoder's last layer after every step of every speech, without a picture.

    `states` `[S, M]` (float16) has the steps of all speeches one after the other; those of row i
    start at `starts[i]`. `data` is the speech that was encoded.
    """

    states: npt.NDArray[Any]
    starts: npt.NDArray[np.int64]
    data: SpokenCaptions

    def batch(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Returns states `[B, T, M]`, float32, and which of them belong to the speech, `[B, T]`."""
        lengths = [int(self.starts[row + 1] - self.starts[row]) for row in rows]
        states = torch.zeros(len(rows), max(lengths), self.states.shape[1])
        counted = torch.zeros(states.shape[:2], dtype=torch.bool)
        for index, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            start = int(self.starts[row])
            states[index, :length] = torch.from_numpy(self.states[start : start + length].copy())
            counted[index, :length] = True
        return states, counted


@torch.no_grad()
def encode_all(
    model: PixVoxLM, data: SpokenCaptions, file: Path, report: Callable[[str, int, int], None]
) -> SpeechStates:
    """Encodes all speech of `data`, or loads it from `file`, whose name identifies its content.

    Raises ValueError for a model without a null image, or for speech with more steps than its
    positions, and OSError if the disk is full.
    """
    config, device = model.config, next(model.parameters()).device
    # A step of a layout that predicts nothing does not belong to the speech.
    layouts = [config.layout(units.shape[-1] + 1) for units in data.units]
    steps = [sum(map(bool, layout.steps)) for layout in layouts]
    starts = np.concatenate([[0], np.cumsum(steps)])
    if not file.exists():
        order = sorted(range(len(steps)), key=steps.__getitem__)
        with written(file, np.float16, (int(starts[-1]), config.hidden_size)) as states:
            for done in range(0, len(order), _TOGETHER):
                rows = order[done : done + _TOGETHER]
                units, lengths = data.speech(rows)
                with precision("auto", device):
                    encoded, counted = model.encode_speech(units.to(device), lengths.to(device))
                for row, encoded_row, own in zip(
                    rows, encoded.half().cpu(), counted.cpu(), strict=True
                ):
                    states[starts[row] : starts[row + 1]] = encoded_row[own].numpy()
                report("speech encoded", done + len(rows), len(order))
    return SpeechStates(np.load(file, mmap_mode="r"), starts, data)
