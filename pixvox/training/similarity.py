"""Trains a PixVoxLM's similarity head to match speech with images, without text.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision",
section 2.3: in a batch of images with one speech each, every speech is matched with its image and
every image with its speech. The rest of the model is frozen, so its speech does not change; speech
is encoded only once, which makes steps fast and batches large.
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
"""Speeches that are pooled together, sorted by length so that they need less padding."""


@dataclass(frozen=True, kw_only=True)
class SimilarityTraining:
    """The recipe; a step is one optimiser step over `batch` images and a caption of each."""

    steps: int = 1000
    """Optimiser steps."""
    batch: int = 128
    """Images in a step, each with one of its captions."""
    learning_rate: float = 2e-3
    """The highest learning rate, reached after the warm-up."""
    warmup: int = 50
    """Steps of the warm-up; afterwards the learning rate falls to a fiftieth."""
    weight_decay: float = 0.05
    """AdamW's weight decay."""
    seed: int = 0
    """The seed of batches and new weights."""
    validate_every: int = 100
    """Steps between validations."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""


_ENCODED = "encoded-*"
"""Files of encoded speech; they are removed at the end of the training."""

_FREE = ("validate_every", "checkpoint_every")
"""Settings that may change when a training is resumed: steps stay the same."""


@dataclass(frozen=True)
class Compared:
    """One step: its loss in nats and, if it validated, the share of validation speech that is
    matched with its own image among all."""

    step: int
    loss: float
    found: float | None = None


def _vectors(
    head: SimilarityHead, encoded: SpeechStates, rows: Sequence[int], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Returns vectors of speech and images of some rows, `[B, size]` each, in the rows' order."""
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
    """Returns the share of `held` speech whose own image has the highest similarity."""
    speech, images = _vectors(head, held, range(len(held.data.units)), device)
    nearest = (speech @ images.T).argmax(1)
    return float((nearest == torch.arange(len(nearest), device=nearest.device)).float().mean())


def train_similarity(
    model: PixVoxLM,
    data: SpokenCaptions,
    held: SpokenCaptions,
    plan: SimilarityTraining,
    *,
    folder: Path,
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[str, int, int], None] = lambda *_: None,
) -> Iterator[Compared]:
    """Trains the model's similarity head in place, yielding every step.

    The images of `data` and `held` are states of the model's image encoder. Speech is encoded
    first, with `report` as progress, and stored in `folder` until the training has ended.
    `folder/state.pt` is the last checkpoint, from which the same call resumes; when `stop` returns
    True after a step, the training ends there with a checkpoint. Raises ValueError if the model has
    no such head or cannot encode the speech, WeightsError if the checkpoint is from another
    training, and OSError if the disk is full.
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
    # Files of another training, or of one that was killed, are large and not needed.
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
        # Written after the step was yielded, so that a log has every step of a checkpoint.
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
    """Returns the identity of a checkpoint or, without a plan, of encoded speech.

    It covers the frozen weights, the recipe without _FREE settings, and the data's units.
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
