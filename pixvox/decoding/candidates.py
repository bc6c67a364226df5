"""Draws several speeches of one image and chooses the best.

Speeches that the model ended are preferred. Among these, the one with the highest mean
log-probability of its first codebook's units given the image is chosen (that codebook carries the
words; a sum would prefer short speech), as in the sample-and-rank of Adiwardana et al. 2020,
"Towards a Human-like Open-Domain Chatbot". A model with a similarity head adds the similarity of
speech and image: samples reranked by a contrastive model are Ramesh et al. 2021, "Zero-Shot
Text-to-Image Generation", section 2.6.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from pixvox.decoding.requests import Generation, Request
from pixvox.network import PixVoxNetwork

SURENESS = 0.5
"""The weight of a nat a unit relative to a cosine; chosen on pictures of the `choose` split."""

_TOGETHER = 32
"""Candidates that are encoded together."""


def several(requests: Sequence[Request], candidates: int) -> list[Request]:
    """Returns each request once for each candidate, in groups."""
    return [replace(request, candidate=c) for request in requests for c in range(candidates)]


def best(
    model: PixVoxNetwork,
    images: Tensor,
    requests: Sequence[Request],
    speeches: Sequence[Generation],
    *,
    candidates: int,
) -> list[Generation]:
    """Returns the best of each `candidates` consecutive speeches, over image states `[I, P, M]`."""
    chosen = []
    for start in range(0, len(speeches), candidates):
        first, drawn = requests[start], speeches[start : start + candidates]
        # An item's candidates go through the model together and without others, so that the choice
        # does not depend on the batch.
        spoken = [speech for speech in drawn if speech.units.shape[1] > first.prompt.shape[1]]
        scores = ranks(model, images[first.image], spoken)
        # Ties go to the first.
        order = sorted(
            zip(spoken, scores, strict=True), key=lambda pair: (not pair[0].ended, -pair[1])
        )
        chosen.append(order[0][0] if order else drawn[0])
    return chosen


def ranks(model: PixVoxNetwork, image: Tensor, speeches: Sequence[Generation]) -> list[float]:
    """Returns the rank scores of an image `[P, M_vision]`'s candidates; the highest is the best."""
    scores = [SURENESS * speech.sureness for speech in speeches]
    if model.similarity_head is None or not speeches:
        return scores
    # A model in training mode would apply dropout.
    training = model.training
    model.eval()
    fits: list[float] = []
    for start in range(0, len(speeches), _TOGETHER):
        units_of = [speech.units for speech in speeches[start : start + _TOGETHER]]
        lengths = torch.tensor([units.shape[1] for units in units_of])
        longest = int(lengths.max())
        padded = torch.stack([F.pad(units, (0, longest - units.shape[1])) for units in units_of])
        fits += model.similarity(padded, lengths, image[None]).tolist()
    model.train(training)
    return [score + fit for score, fit in zip(scores, fits, strict=True)]
