"""Trains a captioner on a dataset's captions and pictures, and exports weights and processor."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from transformers import PreTrainedTokenizerFast

from bench.common.errors import UserError
from bench.common.progress import Progress
from bench.execution.cluster import find_cluster
from bench.execution.spreading import compute_on_ray
from bench.training.data import ImageEncoder, Preparing, pictures
from bench.training.keeping import state_folder
from bench.training.log import Log, draw
from bench.training.pixvox import export
from bench.training.spec import CaptionerJob
from bench.training.stop import Stop, ending
from pixvox.training.captioner import (
    MAX_TOKENS,
    TextSize,
    new_captioner,
    plain_words,
    processor_of,
    tokeniser_of,
    train_captioner,
)
from pixvox.vision import load_vision, scaling_of
from pixvox.weights import resolve

if TYPE_CHECKING:
    from torch import Tensor


def run_captioner(job: CaptionerJob, report: Progress, stop: Stop) -> None:
    """Trains and exports a captioner; raises KeyboardInterrupt if it was stopped.

    Raises UserError for data without captions, WeightsError for an invalid image encoder.
    """
    if job.threads:
        torch.set_num_threads(job.threads)
    items = job.data.half("train", ending(report, stop))
    texts = [plain_words(caption.text) for item in items for caption in item.captions]
    if not texts:
        raise UserError("data: train has no caption; name a dataset that has, or more images")
    source = resolve(job.vision)
    encoder = ImageEncoder(load_vision(source), scaling_of(source))
    words = tokeniser_of(texts, job.min_word_count)
    model = new_captioner(encoder.model, words, job.plan, _text_size(job))
    paths = sorted({item.image for item in items})
    how = Preparing(report=ending(report, stop), compute=compute_on_ray(find_cluster(None)))
    states = pictures(job.data, "train", paths, encoder, how=how)
    place = {path: number for number, path in enumerate(paths)}
    owner = [place[item.image] for item in items for _ in item.captions]
    folder = state_folder(job)
    log = Log(folder)
    last = job.plan.steps
    tokens, owners = _tokens(texts, words), torch.tensor(owner)
    for last, loss in train_captioner(
        model, states, tokens, owners, plan=job.plan, folder=folder, stop=stop
    ):
        log.write({"step": last, "loss": loss})
        report(f"loss {loss:.3f}", last, job.plan.steps)
    draw(folder)
    if last < job.plan.steps:
        raise KeyboardInterrupt
    export(model, job.output)
    processor_of(encoder.scaling, words).save_pretrained(job.output)


def _text_size(job: CaptionerJob) -> TextSize:
    if job.size is None:
        return TextSize()
    return TextSize(job.size.layers, job.size.hidden, job.size.heads)


def _tokens(texts: Sequence[str], words: PreTrainedTokenizerFast) -> "Tensor":
    """Returns captions as tokens `[C, T]` with start and end, cut to the model's length, padded."""
    begin, end, pad = words.bos_token_id, words.sep_token_id, words.pad_token_id
    rows = [[begin, *words(text)["input_ids"][: MAX_TOKENS - 2], end] for text in texts]
    longest = max(map(len, rows))
    return torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
