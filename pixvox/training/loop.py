"""Trains PixVoxLM on spoken captions, with checkpoints that continue the curve.

It runs alone or as one of several torch.distributed workers. The effective batch is the plan's
however it is divided: gradients are weighted by targets, so workers and micro-batches change only
rounding and dropout.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pixvox.digests import WeightsError
from pixvox.images import normalise
from pixvox.modeling import PixVoxLM
from pixvox.training.average import Average
from pixvox.training.captions import SpokenCaptions
from pixvox.training.checkpoint import STATE, last_state, load_state, save_state
from pixvox.training.frozen import check_frozen, digest_of_frozen, load_trained, trained_state
from pixvox.training.optimisers import optimisers_of
from pixvox.training.precision import attention, precision
from pixvox.training.prefetch import pinned, prefetched
from pixvox.training.recipe import Training, batches, identity
from pixvox.training.schedule import cosine
from pixvox.training.workers import share_gradients, summed, world


class Judge(Protocol):
    """Scores what a model generates; higher is better, and the first score selects the best
    weights.

    `name` contains all that the scores depend on beside the model: scores with another name are not
    compared.
    """

    name: str

    def __call__(self, model: PixVoxLM) -> Mapping[str, float]:
        """Returns the scores of a model that is not in training mode."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """The results of one step.

    The validation losses `[K]` and the judge's scores are set only if the step validated; `last` is
    True for the last step. `rows` is the number of captions of this worker's share, and `seconds`
    is the step's time without validation.
    """

    step: int
    loss: float
    codebook_losses: tuple[float, ...]
    rows: tuple[int, ...]
    seconds: float
    validation: tuple[float, ...] | None = None
    scores: Mapping[str, float] | None = None
    last: bool = False


@dataclass(frozen=True)
class _Drawn:
    """A step's random draws for each row: use the null image, and mirror the picture."""

    blind: Sequence[bool] = ()
    mirror: Sequence[bool] = ()

    def part(self, rows: slice) -> "_Drawn":
        return _Drawn(self.blind[rows], self.mirror[rows])


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Captions that are computed together: units `[B, K, N]`, lengths `[B]`, and image rows.

    `targets` is the number of units that a codebook predicts in them.
    """

    units: Tensor
    lengths: Tensor
    images: Tensor
    drawn: _Drawn
    targets: int


def _read(
    data: SpokenCaptions, rows: Sequence[int], device: torch.device, drawn: _Drawn = _Drawn()
) -> _Batch:
    """Returns the captions of some rows on the CPU."""
    units, lengths, images = (pinned(part, device) for part in data.batch(rows, drawn.mirror))
    return _Batch(
        units=units, lengths=lengths, images=images, drawn=drawn, targets=data.targets(rows)
    )


def _losses(model: PixVoxLM, batch: _Batch, *, unit_dropout: float = 0.0) -> Tensor:
    """Returns the mean loss of each codebook over a batch, `[K]`."""
    device, blind = next(model.parameters()).device, batch.drawn.blind
    units, lengths, images = (
        part.to(device, non_blocking=True) for part in (batch.units, batch.lengths, batch.images)
    )
    if images.dtype == torch.uint8:
        states = model.encode_images(normalise(images, model.config.scaling))
    else:
        states = images.to(next(model.heads.parameters()).dtype)
    if any(blind):
        hidden = torch.tensor(blind, device=device)[:, None, None]
        states = torch.where(hidden, model.null_states().to(states.dtype), states)
    output = model(units, lengths, image_states=states, unit_dropout=unit_dropout)
    losses: Tensor = output.codebook_losses
    return losses


@torch.no_grad()
def validate(model: PixVoxLM, data: SpokenCaptions, plan: Training) -> tuple[float, ...]:
    """Returns the mean loss of each codebook over all targets of `data`, divided among the workers.

    It is computed in the precision of the training.
    """
    rank, size = world()
    model.eval()
    device = next(model.parameters()).device
    total = torch.zeros(model.config.num_codebooks, device=device)
    batch = plan.micro_batch or plan.batch
    # Captions of similar length are in one batch, which needs less padding.
    order = sorted(range(len(data.units)), key=lambda row: data.units[row].shape[-1])
    mine = order[rank::size]
    groups = (mine[start : start + batch] for start in range(0, len(mine), batch))
    for part in prefetched(lambda rows: _read(data, rows, device), groups):
        with attention(device), precision(plan.precision, device):
            losses = _losses(model, part)
        total += losses * part.targets
    model.train()
    return tuple((summed(total) / data.targets(range(len(data.units)))).tolist())


def trainable(model: PixVoxLM, plan: Training) -> list[Tensor]:
    """Returns the parameters that are trained; freezes the others."""
    for name, parameter in model.named_parameters():
        used = plan.image_dropout > 0 if name == "null_image" else True
        # The similarity head is trained separately, over a frozen decoder.
        used = used and not name.startswith("similarity_head.")
        parameter.requires_grad_(used and (plan.train_vision or not name.startswith("vision.")))
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


@dataclass(frozen=True)
class _Share:
    """This worker's part of a step in micro-batches; `targets` are those of all workers."""

    rows: Sequence[int]
    parts: Sequence[_Batch]
    targets: int


class _Run:
    """One worker's part of a training: the model and optimiser at a step of the plan."""

    def __init__(
        self,
        model: PixVoxLM,
        data: SpokenCaptions,
        plan: Training,
        folder: Path,
        *,
        judge: Judge | None,
        origin: str,
    ) -> None:
        self.model, self.data, self.plan, self.folder = model, data, plan, folder
        self.judge, self.judged = judge, judge.name if judge else ""
        self.rank, self.size = world()
        self.device = next(model.parameters()).device
        self.parameters = trainable(model, plan)
        weights = plan.codebook_weights or (1.0,) * model.config.num_codebooks
        if len(weights) != model.config.num_codebooks:
            raise WeightsError(
                f"codebook_weights: {len(weights)} of them for a model of "
                f"{model.config.num_codebooks} codebooks; give one for each"
            )
        self.weights = torch.tensor(weights, device=self.device) / sum(weights)
        if plan.image_dropout:
            model.null_states()
        if plan.activation_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        self.optimisers = optimisers_of(model, plan)
        self.average = Average(model, plan.average) if plan.average else None
        self.identity = identity(model.config.computed(), origin, data.units, plan)
        self.step, self.best, self.worse = 0, float("-inf"), 0
        self._epoch, self._order = -1, list[list[int]]()

    def resume(self) -> None:
        """Loads the last checkpoint, if any; raises WeightsError if it is another training's."""
        saved = last_state(self.folder, self.identity)
        if saved is None:
            return
        check_frozen(self.folder / STATE, saved, self.model, self.plan.train_vision)
        load_trained(self.model, saved["model"])
        for optimiser, state in zip(self.optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        self.step = saved["step"]
        if saved["judged"] == self.judged:
            self.best, self.worse = float(saved["best"]), saved["worse"]
        if self.average is not None:
            self.average.restore(saved["average"])

    def _rows(self, step: int) -> list[int]:
        """Returns the rows of a step for all workers."""
        plan = self.plan
        epoch, place = divmod(step, -(-len(self.data.units) // plan.batch))
        if epoch != self._epoch:
            lengths = [units.shape[-1] for units in self.data.units]
            self._epoch, self._order = epoch, batches(lengths, plan.batch, epoch, plan.seed)
        return self._order[place]

    def _drawn(self, step: int, rows: int) -> _Drawn:
        """Returns the random draws of a step for the rows of all workers."""
        rng, plan = np.random.default_rng((self.plan.seed, 1, step)), self.plan
        blind = (rng.random(rows) < plan.image_dropout).tolist()
        return _Drawn(blind, (rng.random(rows) < 0.5).tolist() if plan.mirror else ())

    def share(self, step: int) -> _Share:
        """Returns this worker's part of a step, on the CPU."""
        rows = self._rows(step)
        drawn = self._drawn(step, len(rows)).part(slice(self.rank, None, self.size))
        mine, micro = rows[self.rank :: self.size], self.plan.micro_batch or len(rows)
        parts = [
            _read(self.data, mine[part], self.device, drawn.part(part))
            for part in (slice(start, start + micro) for start in range(0, len(mine), micro))
        ]
        return _Share(mine, parts, self.data.targets(rows))

    @property
    def exhausted(self) -> bool:
        """Whether `patience` validations in a row were no better."""
        return bool(self.plan.patience) and self.worse >= self.plan.patience

    def advance(self, share: _Share) -> Tensor:
        """Takes one optimiser step; returns this worker's part of the codebooks' losses, `[K]`."""
        plan, device = self.plan, self.device
        for optimiser in self.optimisers:
            optimiser.zero_grad(set_to_none=True)
        total = torch.zeros(self.model.config.num_codebooks, device=device)
        # Dropout is seeded by the step, so that a resumed run continues the same curve.
        torch.manual_seed((plan.seed * 1_000_003 + self.step) * 4096 + self.rank)
        for part in share.parts:
            with attention(device), precision(plan.precision, device):
                losses = _losses(self.model, part, unit_dropout=plan.unit_dropout)
                losses = losses * (part.targets / share.targets)
            (losses * self.weights).sum().backward()
            total += losses.detach()
        share_gradients(self.parameters)
        torch.nn.utils.clip_grad_norm_(self.parameters, plan.clip)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = cosine(self.step, plan.steps, plan.learning_rate, plan.warmup)
            optimiser.step()
        self.step += 1
        if self.average is not None:
            self.average.update(self.step)
        return total

    def validate(
        self, held: SpokenCaptions
    ) -> tuple[tuple[float, ...], Mapping[str, float] | None]:
        """Returns the validation losses `[K]` and, on the first worker, the judge's scores.

        The first worker stores the best weights so far: by the judge, or by loss.
        """
        scores: Mapping[str, float] | None = None
        with self.average.applied() if self.average is not None else nullcontext():
            losses = validate(self.model, held, self.plan)
            if self.rank:
                return losses, None
            if self.judge is not None:
                self.model.eval()
                scores = self.judge(self.model)
                self.model.train()
            good = -sum(a * b for a, b in zip(losses, self.weights.tolist(), strict=True))
            good = next(iter(scores.values())) if scores else good
            self.worse += 1
            if good > self.best:
                self.best, self.worse = good, 0
                save_state(self.folder / "best.pt", {"model": trained_state(self.model)})
        return losses, scores

    def checkpoint(self) -> None:
        """Writes the state that `resume` loads."""
        states = [optimiser.state_dict() for optimiser in self.optimisers]
        state: dict[str, Any] = {"model": trained_state(self.model), "optimisers": states}
        state |= {"frozen": digest_of_frozen(self.model, self.plan.train_vision)}
        state |= {"step": self.step, "best": self.best, "worse": self.worse}
        state |= {"judged": self.judged}
        state |= {"identity": self.identity, "average": self.average and self.average.state}
        save_state(self.folder / STATE, state)


def check_resumable(
    model: PixVoxLM, data: SpokenCaptions, plan: Training, *, folder: Path, origin: str
) -> None:
    """Raises WeightsError if `train` would, for the checkpoint of another training."""
    course = identity(model.config.computed(), origin, data.units, plan)
    saved = last_state(folder, course, mapped=True)
    if saved is not None:
        check_frozen(folder / STATE, saved, model, plan.train_vision)


def train(
    model: PixVoxLM,
    data: SpokenCaptions,
    validation: SpokenCaptions,
    plan: Training,
    *,
    folder: Path,
    stop: Callable[[], bool] = lambda: False,
    judge: Judge | None = None,
    origin: str = "",
) -> Iterator[Step]:
    """Trains in place, yielding after every step; ends with the best weights in the model.

    `folder/state.pt` is the last checkpoint: the same call resumes from it with the same batches
    and dropout as an uninterrupted run. `folder/best.pt` has the best weights so far: by the
    `judge`, or by the validation loss, with codebooks weighted as in training; with another judge
    than before, the selection starts again. Every worker calls this with the same arguments; the
    first one judges and writes. If any worker's `stop` returns True, all end after the same step,
    with its checkpoint and weights. `origin` is the digest of the weights from which `model` was
    made, if any. Raises WeightsError if the checkpoint is from another training.
    """
    run = _Run(model, data, plan, folder, judge=judge, origin=origin)
    run.resume()
    model.train()
    steps = range(run.step, 0 if run.exhausted else plan.steps)
    for share in prefetched(run.share, steps):
        begin = time.perf_counter()
        shared_losses = run.advance(share)
        # Read here, so that the GPU's work is included in the step's time.
        shares = shared_losses.tolist()
        seconds = time.perf_counter() - begin
        due = run.step == plan.steps or run.step % plan.validate_every == 0
        checked, scores = run.validate(validation) if due else (None, None)
        over = run.step == plan.steps or run.exhausted
        # One message for all, so that all workers stop after the same step.
        message = shared_losses.new_tensor([*shares, float(stop()), float(over)])
        *each, asked, ended = summed(message).tolist()
        losses, last = tuple(each), bool(ended)
        yield Step(
            step=run.step,
            loss=sum(losses) / len(losses),
            codebook_losses=losses,
            rows=tuple(share.rows),
            seconds=seconds,
            validation=checked,
            scores=scores,
            last=last,
        )
        # Written after the step was yielded, so that a log has every step of a checkpoint.
        if run.rank == 0 and (run.step % plan.checkpoint_every == 0 or last or asked):
            run.checkpoint()
        if last:
            break
        if asked:
            return
    if run.rank == 0 and (chosen := load_state(folder / "best.pt")) is not None:
        load_trained(model, chosen["model"])
    model.eval()
