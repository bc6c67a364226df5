"""Trains a PixVoxLM's similarity head: which speech is of which image, and no text.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
section 2.3: in a batch of images and one speech of each, every speech has to find its image and
every image its speech. All else in the model is frozen, so that it speaks as before; speech is
therefore encoded once, which makes steps cheap and batches large.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pixvox.modeling import PixVoxLM
from pixvox.similarity import SimilarityHead
from pixvox.training.captions import SpokenCaptions
from pixvox.training.checkpoint import STATE, last_state, save_state
from pixvox.training.schedule import cosine
from pixvox.training.speechstates import SpeechStates, encode_all

_TOGETHER = 64
"""Speeches that are pooled at once: sorted by length, they are padded less."""


@dataclass(frozen=True)
class SimilarityTraining:
    """The recipe; one step is one optimiser step over `batch` images and a caption of each."""

    steps: int = 1000
    """Optimiser steps."""
    batch: int = 128
    """Images a step, each with one of its captions."""
    learning_rate: float = 2e-3
    """The most that it comes to, after the warm-up."""
    warmup: int = 50
    """Steps until then; it falls to a fiftieth afterwards."""
    weight_decay: float = 0.05
    """AdamW's."""
    seed: int = 0
    """Of batches and new weights."""
    validate_every: int = 100
    """Steps between validations."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""


_ENCODED = "encoded-*"
"""Files of what was encoded; they are removed when the training has ended."""

_FREE = ("validate_every", "checkpoint_every")
"""What may change between two parts of one training: the steps stay the same."""


@dataclass(frozen=True)
class Compared:
    """One step: its loss in nats, and where it validated, the share of validation speech that finds
    its own image among all."""

    step: int
    loss: float
    found: float | None = None


def _vectors(
    head: SimilarityHead, encoded: SpeechStates, rows: Sequence[int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Speech and images of some rows, `[B, size]` each, in the rows' order."""
    order = sorted(rows, key=lambda row: encoded.data.units[row].shape[-1])
    place = {row: index for index, row in enumerate(order)}
    spoken: list[Tensor] = []
    images: list[Tensor] = []
    for start in range(0, len(order), _TOGETHER):
        group = order[start : start + _TOGETHER]
        states, counted = encoded.batch(group)
        spoken.append(head.speech(states.to(device), counted.to(device)))
        images.append(head.image(encoded.data.states(group).to(device).float()))
    back = torch.tensor([place[row] for row in rows], device=device)
    return torch.cat(spoken)[back], torch.cat(images)[back]


@torch.no_grad()
def _recall(head: SimilarityHead, held: SpeechStates, device: torch.device) -> float:
    """Returns the share of `held` speech that fits its own image best."""
    speech, images = _vectors(head, held, range(len(held.data.units)), device)
    nearest = (speech @ images.T).argmax(1)
    return float((nearest == torch.arange(len(nearest), device=nearest.device)).float().mean())


def train_similarity(
    model: PixVoxLM,
    data: SpokenCaptions,
    held: SpokenCaptions,
    plan: SimilarityTraining,
    folder: Path,
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[str, int, int], None] = lambda *_: None,
) -> Iterator[Compared]:
    """Trains the model's similarity head in place, yielding every step.

    The images of `data` and `held` are states that the model's image encoder made. `report` is told
    of the speech that is encoded first; it lies in `folder` until the training has ended.
    `folder/state.pt` is the last checkpoint, from which the same call resumes; where `stop` says so
    after a step, it ends there with one. Raises ValueError where the model has no such head, or
    cannot encode the speech, WeightsError where the checkpoint is another training's, and OSError
    where the disk has no room.
    """
    head = model.similarity_head
    if head is None:
        raise ValueError("the model has no similarity head; give its configuration a size")
    model.eval()
    optimiser = torch.optim.AdamW(
        head.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay
    )
    device = next(head.parameters()).device
    course = _identity(model, data, plan)
    saved = last_state(folder, course)
    if saved is not None:
        head.load_state_dict(saved["head"])
        optimiser.load_state_dict(saved["optimiser"])
    done = saved["step"] if saved else 0
    if done >= plan.steps:
        _remove(folder.glob(_ENCODED))
        return
    rows_of = _by_image(data)
    held = held.only([rows[0] for rows in _by_image(held)])
    files = [folder / f"encoded-{_identity(model, split)}.npy" for split in (data, held)]
    # What was encoded for another training, or by one that was killed, is large and of no more use.
    _remove(set(folder.glob(_ENCODED)) - {*files})
    encoded = encode_all(model, data, files[0], report)
    checked = encode_all(model, held, files[1], report) if held.units else None
    for step in range(done, plan.steps):
        rng = np.random.default_rng((plan.seed, step))
        chosen = rng.permutation(len(rows_of))[: plan.batch]
        rows = [rows_of[image][rng.integers(len(rows_of[image]))] for image in chosen]
        speech, images = _vectors(head, encoded, rows, device)
        logits = head.scale.exp().clamp(max=100) * speech @ images.T
        own = torch.arange(len(rows), device=logits.device)
        loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for group in optimiser.param_groups:
            group["lr"] = cosine(step, plan.steps, plan.learning_rate, plan.warmup)
        optimiser.step()
        last = step + 1 == plan.steps
        due = last or (step + 1) % plan.validate_every == 0
        recall = _recall(head, checked, device) if due and checked else None
        yield Compared(step + 1, loss.item(), recall)
        # Only now, when whoever takes the steps has this one: a log then lacks none that is kept.
        stopping = stop()
        if (step + 1) % plan.checkpoint_every == 0 or last or stopping:
            state = {"head": head.state_dict(), "optimiser": optimiser.state_dict()}
            save_state(folder / STATE, state | {"step": step + 1, "identity": course})
        if stopping and not last:
            return
    _remove(files)


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def _identity(model: PixVoxLM, data: SpokenCaptions, plan: SimilarityTraining | None = None) -> str:
    """Returns what a checkpoint, or without a plan what was encoded, is of.

    The frozen weights, the recipe's course, and the data's units.
    """
    state = hashlib.sha256(model.config.computed().encode())
    course = {k: v for k, v in asdict(plan).items() if k not in _FREE} if plan else {}
    state.update(repr(sorted(course.items())).encode())
    for name, value in sorted(model.state_dict().items()):
        if not name.startswith("similarity_head."):
            state.update(name.encode() + value.float().cpu().numpy().tobytes())
    for units in data.units:
        state.update(units.to(torch.int16).numpy().tobytes())
    return state.hexdigest()[:16]


def _by_image(data: SpokenCaptions) -> list[list[int]]:
    """Returns the rows of every image that has any."""
    rows_by_image: dict[int, list[int]] = {}
    for row, image in enumerate(data.image_of):
        rows_by_image.setdefault(image, []).append(row)
    return list(rows_by_image.values())
