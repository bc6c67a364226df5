"""Pretrains a small image encoder on image-caption pairs.

It replaces BLIP's own pretraining if its weights are not available: the encoder learns to predict
the words in captions of a picture (soft targets: the share of its captions with the word; Joulin et
al. 2016, "Learning Visual Features from Large Weakly Supervised Data"). As in the paper's recipe,
PixVoxLM then keeps it frozen.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers.models.blip.modeling_blip import BlipVisionModel

from pixvox.images import normalise
from pixvox.training.checkpoint import STATE, last_state, save_state
from pixvox.training.recipe import course_digest
from pixvox.training.schedule import cosine
from pixvox.vision import ImageScaling


@dataclass(frozen=True, kw_only=True)
class VisionTraining:
    """The recipe of the pretraining."""

    steps: int = 1500
    """Optimiser steps."""
    batch: int = 64
    """Pictures in a step."""
    learning_rate: float = 1e-3
    """The highest learning rate, reached after the warm-up."""
    warmup: int = 100
    """Steps of the warm-up; afterwards the learning rate falls to a fiftieth."""
    seed: int = 0
    """The seed of batches, dropout and new weights."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""


def word_targets(captions: Sequence[Sequence[str]], least: int = 20) -> tuple[list[str], Tensor]:
    """Returns words used at least `least` times, and `[I, W]`: the share of captions with each."""
    counts: dict[str, int] = {}
    for caption in (c for group in captions for c in group):
        for word in set(caption.split()):
            counts[word] = counts.get(word, 0) + 1
    words = sorted(word for word, count in counts.items() if count >= least)
    index = {word: column for column, word in enumerate(words)}
    shares = torch.zeros(len(captions), len(words))
    for row, group in enumerate(captions):
        for caption in group:
            for word in set(caption.split()) & index.keys():
                shares[row, index[word]] += 1 / len(group)
    return words, shares


def pretrain(
    vision: BlipVisionModel,
    images: Tensor,
    shares: Tensor,
    plan: VisionTraining,
    *,
    folder: Path,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[int, float]]:
    """Trains `vision` in place on images `[I, 3, H, W]` (uint8) and word shares `[I, W]`.

    Yields every step's number and loss: binary cross entropy, in nats a picture. The state is
    written to `folder/state.pt`, from which the same call resumes. When `stop` returns True after a
    step, the training ends there with a checkpoint. Raises WeightsError if the state is from
    another training.
    """
    torch.manual_seed(plan.seed)
    reader = nn.Linear(vision.config.hidden_size, shares.shape[1])
    parameters = [*vision.parameters(), *reader.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=plan.learning_rate, weight_decay=0.05)
    course = course_digest(plan, vision.config.to_json_string(), images.numpy(), shares.numpy())
    saved = last_state(folder, course)
    if saved is not None:
        vision.load_state_dict(saved["vision"])
        reader.load_state_dict(saved["reader"])
        optimiser.load_state_dict(saved["optimiser"])
    scaling = ImageScaling(vision.config.image_size)
    vision.train()
    for step in range(saved["step"] if saved else 0, plan.steps):
        rng = np.random.default_rng((plan.seed, step))
        rows = torch.from_numpy(rng.integers(len(images), size=plan.batch))
        with torch.autocast("cpu", torch.bfloat16):
            states = vision(normalise(images[rows], scaling)).last_hidden_state
            logits = reader(states.mean(1))
        loss = nn.functional.binary_cross_entropy_with_logits(
            logits.float(), shares[rows], reduction="sum"
        )
        loss = loss / plan.batch
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for group in optimiser.param_groups:
            group["lr"] = cosine(step, plan.steps, plan.learning_rate, plan.warmup)
        optimiser.step()
        stopping = stop()
        if (step + 1) % plan.checkpoint_every == 0 or step + 1 == plan.steps or stopping:
            state = {"vision": vision.state_dict(), "reader": reader.state_dict()}
            state |= {"optimiser": optimiser.state_dict()}
            save_state(folder / STATE, state | {"step": step + 1, "identity": course})
        yield step + 1, loss.item()
        if stopping:
            return
    vision.eval()
