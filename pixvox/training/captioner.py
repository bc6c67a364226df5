"""Trains a small captioner over a frozen image encoder, for cascades.

Li et al. 2022, "BLIP: Bootstrapping Language-Image Pre-training", section 3.1: the image-grounded
text decoder, cross entropy with label smoothing 0.1. Tokens are whole words, because the vocabulary
is small.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from pixvox.captioner import Captioner, CaptionerConfig, image_processor
from pixvox.training.checkpoint import STATE, last_state, save_state
from pixvox.training.recipe import course_digest
from pixvox.training.schedule import cosine
from pixvox.vision import DEFAULT_TYPE, ImageScaling, state_shape

_SPECIAL = ("[PAD]", "[UNK]", "[BOS]", "[SEP]")
_SMOOTHING = 0.1
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
MAX_TOKENS = 32


@dataclass(frozen=True)
class TextSize:
    """The size of the text decoder: its layers, their width, and the heads of each attention.

    The default is the zoo's size.
    """

    layers: int = 2
    hidden: int = 64
    heads: int = 4


@dataclass(frozen=True, kw_only=True)
class CaptionerTraining:
    """The recipe; a step is one optimiser step over `batch` captions."""

    steps: int = 2000
    """Optimiser steps."""
    batch: int = 64
    """Captions in a step."""
    learning_rate: float = 1e-3
    """The highest learning rate, reached after the warm-up."""
    warmup: int = 100
    """Steps of the warm-up; afterwards the learning rate falls to a fiftieth."""
    dropout: float = 0.1
    """The share of activations that are dropped."""
    seed: int = 0
    """The seed of batches, dropout and new weights."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""


def plain_words(caption: str) -> str:
    """Returns a caption as lower-case words without punctuation, which are learnt."""
    return " ".join(_WORD.findall(caption.lower()))


def tokeniser_of(captions: Sequence[str], least: int = 1) -> PreTrainedTokenizerFast:
    """Returns a tokeniser whose tokens are the captions' words, most frequent first.

    Words that occur fewer than `least` times are `[UNK]`.
    """
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers
    from tokenizers.models import WordLevel

    counts: dict[str, int] = {}
    for word in (word for caption in captions for word in caption.lower().split()):
        counts[word] = counts.get(word, 0) + 1
    frequent = [word for word, count in counts.items() if count >= least]
    words = sorted(frequent, key=lambda word: (-counts[word], word))
    vocabulary = {word: number for number, word in enumerate([*_SPECIAL, *words])}
    tokeniser = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokeniser.normalizer = normalizers.Lowercase()
    tokeniser.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokeniser.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokeniser,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[BOS]",
        eos_token="[SEP]",
        sep_token="[SEP]",
        model_max_length=MAX_TOKENS,
    )


def new_captioner(
    vision: PreTrainedModel,
    words: PreTrainedTokenizerFast,
    plan: CaptionerTraining,
    size: TextSize = TextSize(),
) -> PreTrainedModel:
    """Returns a captioner over an image encoder: transformers' class for BLIP's, else ours."""
    torch.manual_seed(plan.seed)
    text: dict[str, Any] = {
        "vocab_size": len(words),
        "hidden_size": size.hidden,
        "encoder_hidden_size": state_shape(vision.config)[1],
        "intermediate_size": 4 * size.hidden,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.heads,
        "max_position_embeddings": MAX_TOKENS,
        "hidden_dropout_prob": plan.dropout,
        "attention_probs_dropout_prob": plan.dropout,
        "bos_token_id": words.bos_token_id,
        "eos_token_id": words.sep_token_id,
        "sep_token_id": words.sep_token_id,
        "pad_token_id": words.pad_token_id,
        "label_smoothing": _SMOOTHING,
    }
    if vision.config.model_type != DEFAULT_TYPE:
        ours = Captioner(CaptionerConfig(text_config=text, vision_config=vision.config))
        ours.vision.load_state_dict(vision.state_dict())
        ours.vision.requires_grad_(False)
        return ours
    config = BlipConfig(text_config=text, vision_config=vision.config.to_dict())
    config.initializer_range = config.text_config.initializer_range
    model = BlipForConditionalGeneration(config)
    model.vision_model.load_state_dict(vision.state_dict())
    model.vision_model.requires_grad_(False)
    return model


def processor_of(scaling: ImageScaling, words: PreTrainedTokenizerFast) -> BlipProcessor:
    """Returns the processor of pictures and tokens, which is BLIP's with the encoder's scaling."""
    return BlipProcessor(image_processor(scaling), words)


def train_captioner(
    model: PreTrainedModel,
    states: npt.NDArray[Any],
    tokens: Tensor,
    image_of: Tensor,
    *,
    plan: CaptionerTraining,
    folder: Path,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[int, float]]:
    """Trains the text decoder in place on image states `[I, P, D]` and captions.

    `states` may be a memory-mapped file. `tokens` are `[C, T]` with start and end, padded; the
    unknown word is an input but never a target. `image_of` `[C]` has the image of each caption.
    Yields every step's number and loss in nats a token. `folder/state.pt` is the last checkpoint,
    from which the same call resumes; when `stop` returns True after a step, the training ends there
    with a checkpoint. Raises WeightsError if the checkpoint is from another training.
    """
    decoder = model.text_decoder
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=plan.learning_rate, weight_decay=0.05)
    text = decoder.config.to_json_string()
    course = course_digest(plan, text, str(states.shape), tokens.numpy(), image_of.numpy())
    saved = last_state(folder, course)
    if saved is not None:
        decoder.load_state_dict(saved["decoder"])
        optimiser.load_state_dict(saved["optimiser"])
    pad = model.config.text_config.pad_token_id
    unlearnt = torch.tensor([pad, _SPECIAL.index("[UNK]")])
    model.train()
    for step in range(saved["step"] if saved else 0, plan.steps):
        rng = np.random.default_rng((plan.seed, step))
        rows = torch.from_numpy(rng.integers(len(tokens), size=plan.batch))
        chosen = tokens[rows]
        chosen = chosen[:, : int((chosen != pad).sum(1).max())]
        torch.manual_seed(plan.seed * 1_000_003 + step)
        loss = decoder(
            input_ids=chosen,
            attention_mask=(chosen != pad).long(),
            encoder_hidden_states=torch.from_numpy(states[image_of[rows].numpy()]).float(),
            labels=chosen.masked_fill(torch.isin(chosen, unlearnt), -100),
            reduction="mean",
        ).loss.mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = cosine(step, plan.steps, plan.learning_rate, plan.warmup)
        optimiser.step()
        stopping = stop()
        if (step + 1) % plan.checkpoint_every == 0 or step + 1 == plan.steps or stopping:
            state = {"decoder": decoder.state_dict(), "optimiser": optimiser.state_dict()}
            save_state(folder / STATE, state | {"step": step + 1, "identity": course})
        yield step + 1, loss.item()
        if stopping:
            return
    model.eval()
