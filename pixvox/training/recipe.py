"""A training's recipe: its numbers, its batches, and the identity of a training."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Training:
    """The recipe. A step is one optimiser step over `batch` captions of all workers together.

    A worker processes `micro_batch` captions at once (0: its whole share) and accumulates
    gradients. `precision` "auto" is bfloat16 if the hardware supports it, else float32.
    `activation_checkpointing` recomputes a layer in the backward pass instead of storing its
    activations: less memory, about a third more operations.

    `image_dropout` is the share of captions that are trained on the model's null image (Ho &
    Salimans 2022, "Classifier-Free Diffusion Guidance", section 3.2); `codebook_weights` are the
    weights of the codebooks' losses, equal if it is empty. `average` is the decay of an exponential
    moving average of the weights, which is then validated and stored. Training ends early after
    `patience` validations in a row without improvement (0: never).
    """

    steps: int
    """Optimiser steps."""
    batch: int = 60
    """Captions in a step, of all workers together."""
    micro_batch: int = 0
    """Captions that a worker processes at once, accumulating gradients; 0 for its whole share."""
    optimiser: str = "adamw"
    """`adamw`, or `muon` for the matrices of the decoder's layers and AdamW for the rest."""
    learning_rate: float = 5e-5
    """The highest learning rate, reached after the warm-up."""
    warmup: int = 100
    """Steps of the warm-up; afterwards the learning rate falls to a fiftieth."""
    weight_decay: float = 0.01
    """Weight decay in a step, relative to the learning rate."""
    clip: float = 1.0
    """The largest norm of a gradient; larger ones are clipped."""
    seed: int = 0
    """The seed of batches, dropout and new weights."""
    validate_every: int = 250
    """Steps between validations."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""
    train_vision: bool = False
    """Whether the image encoder is trained too."""
    image_dropout: float = 0.0
    """The share of captions trained on the null image, which guidance needs."""
    unit_dropout: float = 0.0
    """The share of input steps whose units are hidden from the decoder, all codebooks together."""
    mirror: bool = False
    """Whether pictures are mirrored left to right at random, about half of them in a step."""
    codebook_weights: tuple[float, ...] = ()
    """Weights of the codebooks' losses, one for each codebook; equal by default."""
    average: float = 0.0
    """The decay of the weights' moving average, which is validated and stored; 0 for none."""
    patience: int = 0
    """Ends after this many validations in a row without improvement; 0 for never."""
    precision: str = "auto"
    """`auto` (bfloat16 if the hardware supports it), `bfloat16` or `float32`."""
    activation_checkpointing: bool = False
    """Whether activations are recomputed for gradients: less memory, about a third slower."""

    def __post_init__(self) -> None:
        if self.precision not in ("auto", "bfloat16", "float32"):
            raise ValueError(f"precision {self.precision!r}: use auto, bfloat16 or float32")
        if self.optimiser not in ("adamw", "muon"):
            raise ValueError(f"optimiser {self.optimiser!r}: use adamw or muon")
        if min(self.steps, self.batch, self.validate_every, self.checkpoint_every) < 1:
            raise ValueError("steps, batch, validate_every and checkpoint_every start at 1")
        if self.micro_batch < 0:
            raise ValueError("micro_batch is 0 (a worker's whole share) or more")
        if any(
            not 0 <= share < 1 for share in (self.image_dropout, self.unit_dropout, self.average)
        ):
            raise ValueError("image_dropout, unit_dropout and average are at least 0 and below 1")
        if any(not 0 <= w <= 1e6 for w in self.codebook_weights) or (
            self.codebook_weights and not sum(self.codebook_weights)
        ):
            raise ValueError("codebook_weights are at least 0, and one of them is above")
        if self.patience < 0:
            raise ValueError("patience is 0 (never) or a number of validations")


_FREE = (
    "activation_checkpointing",
    "checkpoint_every",
    "micro_batch",
    "patience",
    "precision",
    "validate_every",
)
"""Settings that may change when a training is resumed: steps stay the same except for rounding."""


def batches(lengths: Sequence[int], batch: int, epoch: int, seed: int) -> list[list[int]]:
    """Returns an epoch's batches of rows in a seeded order, with similar lengths together."""
    rng = np.random.default_rng((seed, epoch))
    order = sorted(rng.permutation(len(lengths)), key=lambda row: lengths[row] // 8)
    groups = [[int(row) for row in order[i : i + batch]] for i in range(0, len(order), batch)]
    return [groups[index] for index in rng.permutation(len(groups))]


def course_digest(plan: Any, *content: str | npt.NDArray[Any]) -> str:
    """Returns the digest of a recipe without _FREE settings, and of data; 16 hex digits."""
    course = {k: v for k, v in asdict(plan).items() if k not in _FREE}
    state = hashlib.sha256(repr(sorted(course.items())).encode())
    for part in content:
        state.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part).data)
    return state.hexdigest()[:16]


def identity(config: str, origin: str, units: Sequence[Tensor], plan: Training) -> str:
    """Returns a training's identity: the model's `config` and `origin`, recipe, and units."""
    return course_digest(
        plan, config, origin, *(speech.to(torch.int16).numpy() for speech in units)
    )
