"""Communication between the workers of one training; alone, it does nothing."""

from collections.abc import Sequence

import torch
from torch import Tensor, distributed


def world() -> tuple[int, int]:
    """Returns this worker's rank and the number of workers."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def summed(values: Tensor) -> Tensor:
    """Returns the sum over all workers, in place."""
    if world()[1] > 1:
        distributed.all_reduce(values)
    return values


def share_gradients(parameters: Sequence[Tensor]) -> None:
    """Sums the gradients of all workers, in one message."""
    if world()[1] == 1:
        return
    flat = torch.cat(
        [(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in parameters]
    )
    distributed.all_reduce(flat)
    for parameter, part in zip(
        parameters, flat.split([p.numel() for p in parameters]), strict=True
    ):
        parameter.grad = part.view_as(parameter)
