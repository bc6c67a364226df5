"""Trains PixVoxLM on spoken captions: collation, the loop, checkpoints that continue the curve.

Runs alone or as one of several torch.distributed workers. The effective batch is the plan's
however it is cut: gradients are weighed by targets, so workers and micro-batches only change
rounding and dropout.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, distributed
from torch.nn.attention import SDPBackend, sdpa_kernel

from pixvox.digests import WeightsError
from pixvox.images import normalise
from pixvox.modeling import PixVoxLM
from pixvox.training.checkpoint import load_state, save_state
from pixvox.training.schedule import cosine


@dataclass(frozen=True)
class SpokenCaptions:
    """What is trained on.

    `units` holds one `[K, N_i]` tensor a caption, `image_of` the row of `images` each belongs
    to. `images` is either uint8 pictures `[I, 3, H, W]` or states `[I, P, M_vision]` that the
    frozen image encoder made once.
    """

    units: Sequence[Tensor]
    image_of: Sequence[int]
    images: npt.NDArray[Any]

    def targets(self, rows: Sequence[int]) -> int:
        """How many units a codebook predicts in these rows: every frame and the end."""
        return sum(self.units[row].shape[-1] + 1 for row in rows)

    def batch(self, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Units `[B, K, N]` padded with 0, lengths `[B]`, and the rows of `images`."""
        chosen = [self.units[row] for row in rows]
        lengths = torch.tensor([units.shape[-1] for units in chosen])
        padded = torch.zeros(len(rows), chosen[0].shape[0], int(lengths.max()), dtype=torch.long)
        for index, units in enumerate(chosen):
            padded[index, :, : units.shape[-1]] = units
        images = torch.from_numpy(np.asarray(self.images[[self.image_of[row] for row in rows]]))
        return padded, lengths, images


@dataclass(frozen=True)
class Training:
    """The recipe. One step is one optimiser step over `batch` captions of all workers together.

    `micro_batch` is how many captions a worker takes at once (0: its whole share); the rest is
    accumulated. `precision` "auto" is bfloat16 where the hardware has it, else float32.
    """

    steps: int
    batch: int = 60
    micro_batch: int = 0
    learning_rate: float = 5e-5
    warmup: int = 100
    weight_decay: float = 0.01
    clip: float = 1.0
    seed: int = 0
    validate_every: int = 250
    checkpoint_every: int = 100
    train_vision: bool = False
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.precision not in ("auto", "bfloat16", "float32"):
            raise ValueError(f"precision {self.precision!r}: use auto, bfloat16 or float32")
        if min(self.steps, self.batch, self.validate_every, self.checkpoint_every) < 1:
            raise ValueError("steps, batch, validate_every and checkpoint_every start at 1")
        if self.micro_batch < 0:
            raise ValueError("micro_batch is 0 (a worker's whole share) or more")


_FREE = ("micro_batch", "precision", "validate_every", "checkpoint_every")
"""What may change between two parts of one training: the steps stay the same but for rounding."""


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


def _world() -> tuple[int, int]:
    """This worker's rank and how many there are."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def _summed(values: Tensor) -> Tensor:
    if _world()[1] > 1:
        distributed.all_reduce(values)
    return values


def _share_gradients(parameters: Sequence[Tensor]) -> None:
    """Sums the gradients of all workers, in one message."""
    if _world()[1] == 1:
        return
    flat = torch.cat(
        [(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in parameters]
    )
    distributed.all_reduce(flat)
    for parameter, part in zip(
        parameters, flat.split([p.numel() for p in parameters]), strict=True
    ):
        parameter.grad = part.view_as(parameter)


def _precision(plan: Training, device: torch.device) -> AbstractContextManager[object]:
    wanted = plan.precision
    if wanted == "auto":
        # Without instructions of its own bfloat16 is emulated, many times slower than float32.
        on_cpu = bool(torch.cpu._is_avx512_bf16_supported())
        has = (
            torch.cuda.is_bf16_supported(including_emulation=False)
            if device.type == "cuda"
            else on_cpu
        )
        wanted = "bfloat16" if has else "float32"
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted == "bfloat16")


def _attention(device: torch.device) -> AbstractContextManager[object]:
    # PyTorch's fused attention is slower backwards on CPU than the plain matrix products.
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def _losses(model: PixVoxLM, data: SpokenCaptions, rows: Sequence[int]) -> Tensor:
    """The mean loss of each codebook over the rows, `[K]`."""
    device = next(model.parameters()).device
    units, lengths, images = (part.to(device) for part in data.batch(rows))
    if images.dtype == torch.uint8:
        return model(units, lengths, pixel_values=normalise(images)).codebook_losses
    weights = next(model.heads.parameters())
    return model(units, lengths, image_states=images.to(weights.dtype)).codebook_losses


@torch.no_grad()
def validate(model: PixVoxLM, data: SpokenCaptions, batch: int) -> tuple[float, ...]:
    """The mean loss per codebook over all targets of `data`, shared among the workers."""
    rank, size = _world()
    model.eval()
    device = next(model.parameters()).device
    total = torch.zeros(model.config.num_codebooks, device=device)
    mine = range(rank, len(data.units), size)
    for start in range(0, len(mine), batch):
        rows = mine[start : start + batch]
        total += _losses(model, data, rows) * data.targets(rows)
    model.train()
    return tuple((_summed(total) / data.targets(range(len(data.units)))).tolist())


def trainable(model: PixVoxLM, train_vision: bool) -> list[Tensor]:
    """The parameters that are trained; the rest is frozen in place."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(train_vision or not name.startswith("vision."))
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def _identity(model: PixVoxLM, data: SpokenCaptions, plan: Training) -> str:
    """What a checkpoint is of: the model's make, the recipe's course, and the data's units."""
    course = {k: v for k, v in asdict(plan).items() if k not in _FREE}
    state = hashlib.sha256(repr((model.config.to_json_string(), sorted(course.items()))).encode())
    for units in data.units:
        state.update(units.to(torch.int16).numpy().tobytes())
    return state.hexdigest()[:16]


def train(
    model: PixVoxLM,
    data: SpokenCaptions,
    validation: SpokenCaptions,
    plan: Training,
    folder: Path,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Step]:
    """Trains in place, yielding after every step; ends with the best weights in the model.

    `folder/state.pt` is the last checkpoint: the same call goes on from it with the same batches
    and dropout as an unbroken run. `folder/best.pt` holds the weights of the lowest validation
    loss so far. Every worker calls this with the same arguments; the first writes. Where any
    worker's `stop` says so, all end after the same step, with a checkpoint of it and the weights
    of that step in the model. Raises WeightsError where the checkpoint is another training's.
    """
    rank, size = _world()
    device = next(model.parameters()).device
    parameters = trainable(model, plan.train_vision)
    optimiser = torch.optim.AdamW(
        parameters, lr=plan.learning_rate, betas=(0.9, 0.98), weight_decay=plan.weight_decay
    )
    saved = load_state(folder / "state.pt") or {"step": 0, "best": float("inf")}
    identity = _identity(model, data, plan)
    if saved["step"]:
        if saved.get("identity") != identity:
            raise WeightsError(
                f"{folder / 'state.pt'}: the checkpoint of another model, recipe or data; remove "
                f"{folder}, or choose another output"
            )
        model.load_state_dict(saved["model"])
        optimiser.load_state_dict(saved["optimiser"])
    best = float(saved["best"])
    lengths = [units.shape[-1] for units in data.units]
    per_epoch = -(-len(lengths) // plan.batch)
    epoch, order = -1, []
    model.train()
    for step in range(saved["step"], plan.steps):
        if step // per_epoch != epoch:
            epoch = step // per_epoch
            order = batches(lengths, plan.batch, epoch, plan.seed)
        whole = order[step % per_epoch]
        mine, total = whole[rank::size], data.targets(whole)
        optimiser.zero_grad(set_to_none=True)
        seen = torch.zeros(model.config.num_codebooks, device=device)
        # Dropout is drawn from the step, so that a resumed run continues the same curve.
        torch.manual_seed((plan.seed * 1_000_003 + step) * 4096 + rank)
        micro = plan.micro_batch or len(whole)
        for start in range(0, len(mine), micro):
            rows = mine[start : start + micro]
            with _attention(device), _precision(plan, device):
                losses = _losses(model, data, rows) * (data.targets(rows) / total)
            losses.mean().backward()
            seen += losses.detach()
        _share_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, plan.clip)
        for group in optimiser.param_groups:
            group["lr"] = cosine(step, plan.steps, plan.learning_rate, plan.warmup)
        optimiser.step()
        last = step + 1 == plan.steps
        checked = None
        if (step + 1) % plan.validate_every == 0 or last:
            checked = validate(model, validation, plan.micro_batch or plan.batch)
            if sum(checked) < best:
                best = sum(checked)
                if rank == 0:
                    save_state(folder / "best.pt", {"model": model.state_dict()})
        # One message for both, so that all workers stop after the same step.
        *each, asked = _summed(torch.cat([seen, seen.new_tensor([float(stop())])])).tolist()
        losses_seen = tuple(each)
        yield Step(step + 1, sum(losses_seen) / len(losses_seen), losses_seen, checked)
        # Only now, when whoever takes the steps has this one: a log then lacks none that is kept.
        if rank == 0 and ((step + 1) % plan.checkpoint_every == 0 or last or asked):
            state = {"model": model.state_dict(), "optimiser": optimiser.state_dict()}
            save_state(
                folder / "state.pt", state | {"step": step + 1, "best": best, "identity": identity}
            )
        if asked and not last:
            return
    if rank == 0 and (chosen := load_state(folder / "best.pt")) is not None:
        model.load_state_dict(chosen["model"])
    model.eval()
