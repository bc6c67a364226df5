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
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from pixvox.digests import WeightsError
from pixvox.images import normalise
from pixvox.modeling import PixVoxLM
from pixvox.training.checkpoint import load_state, save_state
from pixvox.training.schedule import cosine
from pixvox.training.workers import share_gradients, summed, world


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
    rank, size = world()
    model.eval()
    device = next(model.parameters()).device
    total = torch.zeros(model.config.num_codebooks, device=device)
    mine = range(rank, len(data.units), size)
    for start in range(0, len(mine), batch):
        rows = mine[start : start + batch]
        total += _losses(model, data, rows) * data.targets(rows)
    model.train()
    return tuple((summed(total) / data.targets(range(len(data.units)))).tolist())


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


class _Run:
    """One worker's part of a training: the model and optimiser at some step of the plan."""

    def __init__(self, model: PixVoxLM, data: SpokenCaptions, plan: Training, folder: Path) -> None:
        self.model, self.data, self.plan, self.folder = model, data, plan, folder
        self.rank, self.size = world()
        self.device = next(model.parameters()).device
        self.parameters = trainable(model, plan.train_vision)
        self.optimiser = torch.optim.AdamW(
            self.parameters,
            lr=plan.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=plan.weight_decay,
        )
        self.identity = _identity(model, data, plan)
        self.step, self.best = 0, float("inf")
        self._epoch, self._order = -1, list[list[int]]()

    def resume(self) -> None:
        """Takes the last checkpoint, if there is one; raises WeightsError if it is another's."""
        path = self.folder / "state.pt"
        saved = load_state(path)
        if saved is None or not saved["step"]:
            return
        if saved.get("identity") != self.identity:
            raise WeightsError(
                f"{path}: the checkpoint of another model, recipe or data; remove {self.folder}, "
                "or choose another output"
            )
        self.model.load_state_dict(saved["model"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.step, self.best = saved["step"], float(saved["best"])

    def _batch(self) -> list[int]:
        """The rows of the next step, of all workers."""
        plan = self.plan
        epoch, place = divmod(self.step, -(-len(self.data.units) // plan.batch))
        if epoch != self._epoch:
            lengths = [units.shape[-1] for units in self.data.units]
            self._epoch, self._order = epoch, batches(lengths, plan.batch, epoch, plan.seed)
        return self._order[place]

    def advance(self) -> Tensor:
        """One optimiser step; this worker's share of the codebooks' losses, `[K]`."""
        plan, device, whole = self.plan, self.device, self._batch()
        mine, total = whole[self.rank :: self.size], self.data.targets(whole)
        self.optimiser.zero_grad(set_to_none=True)
        seen = torch.zeros(self.model.config.num_codebooks, device=device)
        # Dropout is drawn from the step, so that a resumed run continues the same curve.
        torch.manual_seed((plan.seed * 1_000_003 + self.step) * 4096 + self.rank)
        micro = plan.micro_batch or len(whole)
        for start in range(0, len(mine), micro):
            rows = mine[start : start + micro]
            with _attention(device), _precision(plan, device):
                losses = _losses(self.model, self.data, rows) * (self.data.targets(rows) / total)
            losses.mean().backward()
            seen += losses.detach()
        share_gradients(self.parameters)
        torch.nn.utils.clip_grad_norm_(self.parameters, plan.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = cosine(self.step, plan.steps, plan.learning_rate, plan.warmup)
        self.optimiser.step()
        self.step += 1
        return seen

    def validate(self, held: SpokenCaptions) -> tuple[float, ...]:
        """The validation losses `[K]`; the first worker keeps the weights that are the best yet."""
        found = validate(self.model, held, self.plan.micro_batch or self.plan.batch)
        if sum(found) < self.best:
            self.best = sum(found)
            if self.rank == 0:
                save_state(self.folder / "best.pt", {"model": self.model.state_dict()})
        return found

    def checkpoint(self) -> None:
        """Writes what `resume` takes."""
        state = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        facts = {"step": self.step, "best": self.best, "identity": self.identity}
        save_state(self.folder / "state.pt", state | facts)


def train(
    model: PixVoxLM,
    data: SpokenCaptions,
    validation: SpokenCaptions,
    plan: Training,
    folder: Path,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Step]:
    """Trains in place, yielding after every step; ends with the best weights in the model.

    `folder/state.pt` is the last checkpoint: the same call resumes from it with the same batches
    and dropout as an unbroken run. `folder/best.pt` holds the weights of the lowest validation
    loss so far. Every worker calls this with the same arguments; the first writes. Where any
    worker's `stop` says so, all end after the same step, with a checkpoint of it and the weights
    of that step in the model. Raises WeightsError where the checkpoint is another training's.
    """
    run = _Run(model, data, plan, folder)
    run.resume()
    model.train()
    while run.step < plan.steps:
        seen = run.advance()
        last = run.step == plan.steps
        due = last or run.step % plan.validate_every == 0
        checked = run.validate(validation) if due else None
        # One message for both, so that all workers stop after the same step.
        *each, asked = summed(torch.cat([seen, seen.new_tensor([float(stop())])])).tolist()
        losses = tuple(each)
        yield Step(run.step, sum(losses) / len(losses), losses, checked)
        # Only now, when whoever takes the steps has this one: a log then lacks none that is kept.
        if run.rank == 0 and (run.step % plan.checkpoint_every == 0 or last or asked):
            run.checkpoint()
        if asked and not last:
            return
    if run.rank == 0 and (chosen := load_state(folder / "best.pt")) is not None:
        model.load_state_dict(chosen["model"])
    model.eval()
