"""openai-whisper's greedy decoding, whose loop waits for a GPU at every eighth token only."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from whisper import DecodingOptions
from whisper.decoding import DecodingTask, GreedyDecoder, Inference, LogitFilter, SuppressTokens

if TYPE_CHECKING:
    from whisper import Whisper

POLL = 8
"""Tokens from one check whether all clips have ended to the next, on a GPU.

A check waits for the GPU. A clip that has ended gets ends of text until the next one, which change
neither its text nor its figures.
"""


class _RarelyAsked(GreedyDecoder):
    """A greedy decoder that says every `poll` tokens whether all clips have ended.

    Its tokens and log-probabilities are those of GreedyDecoder, which indexes with a tensor of the
    CPU: each use of it waits for the GPU.
    """

    def __init__(self, eot: int, poll: int) -> None:
        super().__init__(0.0, eot)
        self._poll, self._tokens = poll, 0

    def update(self, tokens: Tensor, logits: Tensor, sum_logprobs: Tensor) -> tuple[Tensor, bool]:
        has_ended = tokens[:, -1] == self.eot
        chosen = logits.argmax(-1)
        logprobs = logits.float().log_softmax(-1).gather(-1, chosen[:, None])[:, 0]
        sum_logprobs += logprobs * ~has_ended
        chosen = chosen.masked_fill(has_ended, self.eot)
        self._tokens += 1
        is_due = self._tokens % self._poll == 0
        completed = is_due and bool((chosen == self.eot).all())
        return torch.cat([tokens, chosen[:, None]], -1), completed


class _SuppressOnDevice(LogitFilter):
    """SuppressTokens with its index on the device of the logits."""

    def __init__(self, tokens: list[int], device: torch.device) -> None:
        self._tokens = torch.tensor(tokens, device=device)

    def apply(self, logits: Tensor, tokens: Tensor) -> None:
        logits.index_fill_(1, self._tokens, -torch.inf)


def greedy_task(
    model: "Whisper",
    options: DecodingOptions,
    *,
    poll: int = 1,
    inference: Inference | None = None,
) -> DecodingTask:
    """Returns a task that decodes one batch without a beam.

    `inference` computes the logits instead of openai-whisper's own.
    """
    task = DecodingTask(model, options)
    task.decoder = _RarelyAsked(task.tokenizer.eot, poll)
    if inference is not None:
        task.inference = inference
    task.logit_filters = [
        _SuppressOnDevice(each.suppress_tokens, model.device)
        if isinstance(each, SuppressTokens)
        else each
        for each in task.logit_filters
    ]
    return task
