"""Trains PixVoxLM on spoken captions: collation, the loop, checkpoints that continue the curve."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pixvox.checkpoint import load_state, save_state
from pixvox.modeling import PixVoxLM
from pixvox.schedule import cosine


@dataclass(frozen=True)
class SpokenCaptions:
    """What is trained on.

    `units` holds one `[K, N_i]` tensor a caption, `image_of` the row of `images` each belongs
    to. `images` is `[I, P, M_vision]`, encoded once by the frozen image encoder.
    """

    units: Sequence[Tensor]
    image_of: Sequence[int]
    images: Tensor

    def batch(self, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Units `[B, K, N]` padded with 0, lengths `[B]`, image states `[B, P, M_vision]`."""
        chosen = [self.units[row] for row in rows]
        lengths = torch.tensor([units.shape[-1] for units in chosen])
        padded = torch.zeros(len(rows), chosen[0].shape[0], int(lengths.max()), dtype=torch.long)
        for index, units in enumerate(chosen):
            padded[index, :, : units.shape[-1]] = units
        return padded, lengths, self.images[[self.image_of[row] for row in rows]]


@dataclass(frozen=True)
class Training:
    """The recipe. One step is one optimiser step over `batch` captions."""

    steps: int
    batch: int = 60
    learning_rate: float = 5e-5
    warmup: int = 100
    weight_decay: float = 0.01
    clip: float = 1.0
    seed: int = 0
    validate_every: int = 250
    checkpoint_every: int = 100


@dataclass(frozen=True)
class Step:
    """What one step reports; the validation losses `[K]` only where it validated."""

    step: int
    loss: float
    codebook_losses: tuple[float, ...]
    validation: tuple[float, ...] | None = None


def batches(lengths: Sequence[int], batch: int, epoch: int, seed: int) -> list[list[int]]:
    """One epoch's batches of rows, like lengths together (less padding), in a keyed order."""
    rng = np.random.default_rng((seed, epoch))
    order = sorted(rng.permutation(len(lengths)), key=lambda row: lengths[row] // 8)
    groups = [[int(row) for row in order[i : i + batch]] for i in range(0, len(order), batch)]
    return [groups[index] for index in rng.permutation(len(groups))]


@torch.no_grad()
def validate(model: PixVoxLM, data: SpokenCaptions, batch: int) -> tuple[float, ...]:
    """The mean loss per codebook over all of `data`, each caption weighing the same."""
    model.eval()
    total = torch.zeros(model.config.num_codebooks)
    for start in range(0, len(data.units), batch):
        rows = range(start, min(start + batch, len(data.units)))
        units, lengths, images = data.batch(rows)
        total += model(units, lengths, image_states=images).codebook_losses * len(rows)
    model.train()
    return tuple((total / len(data.units)).tolist())


def train(
    model: PixVoxLM,
    data: SpokenCaptions,
    validation: SpokenCaptions,
    plan: Training,
    folder: Path,
) -> Iterator[Step]:
    """Trains everything but the image encoder, yielding after every step.

    The state is written to `folder/state.pt`; the same call goes on from it with the same
    batches and dropout as an unbroken run. bfloat16 is used for the matrix products.
    """
    state_file = folder / "state.pt"
    parameters = [p for name, p in model.named_parameters() if not name.startswith("vision.")]
    optimiser = torch.optim.AdamW(
        parameters, lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=plan.weight_decay
    )
    saved = load_state(state_file)
    if saved is not None:
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
    lengths = [units.shape[-1] for units in data.units]
    per_epoch = -(-len(lengths) // plan.batch)
    epoch, order = -1, []
    model.train()
    for step in range(saved["step"] if saved else 0, plan.steps):
        if step // per_epoch != epoch:
            epoch = step // per_epoch
            order = batches(lengths, plan.batch, epoch, plan.seed)
        units, frames, images = data.batch(order[step % per_epoch])
        # Dropout is drawn from the step, so that a resumed run continues the same curve.
        torch.manual_seed(plan.seed * 1_000_003 + step)
        with torch.autocast("cpu", torch.bfloat16):
            output = model(units, frames, image_states=images)
        optimiser.zero_grad(set_to_none=True)
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, plan.clip)
        for group in optimiser.param_groups:
            group["lr"] = cosine(step, plan.steps, plan.learning_rate, plan.warmup)
        optimiser.step()
        last = step + 1 == plan.steps
        checked = None
        if (step + 1) % plan.validate_every == 0 or last:
            checked = validate(model, validation, plan.batch)
        if (step + 1) % plan.checkpoint_every == 0 or last:
            saved = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
            save_state(state_file, saved | {"step": step + 1})
        losses = tuple(output.codebook_losses.tolist())
        yield Step(step + 1, output.loss.item(), losses, checked)
    model.eval()
