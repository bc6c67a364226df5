"""A moving average of the weights that are trained."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """An exponential moving average of a model's trained weights.

    Its decay is at most `(1 + step) / (10 + step)`, so that the initial weights are forgotten soon.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._decay = decay
        self.state = {name: value.detach().clone() for name, value in self._trained.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restores the average from a checkpoint's `state`."""
        for name, value in self.state.items():
            value.copy_(state[name])

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Updates the average with the weights after a step; steps are counted from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        for name, value in self.state.items():
            value.lerp_(self._trained[name], 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Gives the model the averaged weights within the context."""
        own = {name: value.detach().clone() for name, value in self._trained.items()}
        self._put(self.state)
        try:
            yield
        finally:
            self._put(own)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, value in self._trained.items():
            value.copy_(values[name])
