"""Several speeches of one image, drawn independently, of which one is kept.

What is kept was ended by the model, if any was, and has the highest mean log-probability of its
first codebook's units given the image (that codebook carries the words; a sum would prefer short
speech), as in the sample-and-rank of Adiwardana et al. 2020, "Towards a Human-like Open-Domain
Chatbot". A model that can tell how well speech fits an image adds that: samples reranked by a
contrastive model are Ramesh et al. 2021, "Zero-Shot Text-to-Image Generation", section 2.6.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from pixvox.decoding.requests import Generation, Request
from pixvox.network import PixVoxNetwork

SURENESS = 0.5
"""How much a nat a unit counts beside a cosine; chosen on pictures of the `choose` split."""

_TOGETHER = 32
"""Candidates that are compared at once."""


def several(requests: Sequence[Request], candidates: int) -> list[Request]:
    """Returns each request as often as there are candidates, one after the other."""
    return [replace(request, candidate=c) for request in requests for c in range(candidates)]


def best(
    model: PixVoxNetwork,
    images: Tensor,
    requests: Sequence[Request],
    speeches: Sequence[Generation],
    candidates: int,
) -> list[Generation]:
    """Of each `candidates` neighbours of `speeches` the best, over image states `[I, P, M]`."""
    chosen = []
    for start in range(0, len(speeches), candidates):
        first, drawn = requests[start], speeches[start : start + candidates]
        # An item's candidates go through the model together and with no others, so that what is
        # kept depends on no neighbour.
        spoken = [speech for speech in drawn if speech.units.shape[1] > first.prompt.shape[1]]
        scores = ranks(model, images[first.image], spoken)
        # The first of several alike.
        order = sorted(
            zip(spoken, scores, strict=True), key=lambda pair: (not pair[0].ended, -pair[1])
        )
        chosen.append(order[0][0] if order else drawn[0])
    return chosen


def ranks(model: PixVoxNetwork, image: Tensor, speeches: Sequence[Generation]) -> list[float]:
    """What the candidates of an image `[P, M_vision]` are ranked by, the higher the better."""
    scores = [SURENESS * speech.sureness for speech in speeches]
    if model.similarity_head is None or not speeches:
        return scores
    # A model in training mode would drop some of what it encodes.
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
