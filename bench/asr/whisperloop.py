"""openai-whisper's greedy decoding, without what a device waits for at every token."""

from typing import TYPE_CHECKING

from torch import Tensor
from whisper import DecodingOptions, DecodingResult
from whisper.decoding import DecodingTask, GreedyDecoder, Inference

if TYPE_CHECKING:
    from whisper import Whisper

POLL = 8
"""Tokens from one check whether all clips have ended to the next, on a GPU.

A check waits for the GPU. A clip that has ended gets ends of text until the next one, which change
neither its text nor its figures.
"""


class _RarelyAsked(GreedyDecoder):
    """A greedy decoder that says every `poll` tokens whether all clips have ended."""

    def __init__(self, eot: int, poll: int) -> None:
        super().__init__(0.0, eot)
        self._poll, self._tokens = poll, 0

    def update(self, tokens: Tensor, logits: Tensor, sum_logprobs: Tensor) -> tuple[Tensor, bool]:
        """Returns the extended tokens and whether all clips have ended, False between checks."""
        tokens, completed = super().update(tokens, logits, sum_logprobs)
        self._tokens += 1
        return tokens, self._tokens % self._poll == 0 and bool(completed)


def decode_greedily(
    model: "Whisper",
    audio: Tensor,
    options: DecodingOptions,
    *,
    poll: int = 1,
    inference: Inference | None = None,
) -> list[DecodingResult]:
    """Returns what `whisper.decode` gives of spectrograms or states `[B, …]` without a beam.

    `inference` computes the logits instead of openai-whisper's own.
    """
    task = DecodingTask(model, options)
    task.decoder = _RarelyAsked(task.tokenizer.eot, poll)
    if inference is not None:
        task.inference = inference
    results: list[DecodingResult] = task.run(audio)
    return results
