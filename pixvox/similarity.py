"""A head that scores how well speech fits an image, learnt without text, on PixVoxLM's decoder.

It is trained contrastively as in Radford et al. 2021, "Learning Transferable Visual Models From
Natural Language Supervision", section 2.3, with speech in place of text. The states of the
decoder's last layer after each step of a speech, encoded over the null image, are pooled to one
vector, and so are the image's states; the two vectors are compared by their cosine.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixvox.configuration import QUERIES, PixVoxConfig


class AttentionPool(nn.Module):
    """A sequence as one vector of length 1: `QUERIES` learnt queries, each with its own values."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.weight = nn.Linear(width, QUERIES)
        self.value = nn.Linear(width, size)

    def forward(self, states: Tensor, counted: Tensor | None = None) -> Tensor:
        """Returns `[B, size]` for states `[B, T, W]`, using only the `counted` `[B, T]` ones."""
        states = self.norm(states)
        weights = self.weight(states)
        if counted is not None:
            weights = weights.masked_fill(~counted[..., None], -torch.inf)
        values = self.value(states).unflatten(-1, (QUERIES, -1))
        pooled = torch.einsum("btq,btqv->bqv", weights.softmax(1), values)
        return F.normalize(pooled.flatten(1), dim=-1)


class SimilarityHead(nn.Module):
    """Maps speech and images to vectors of length 1 in one space; `scale` is a logarithm."""

    def __init__(self, config: PixVoxConfig) -> None:
        super().__init__()
        self.speech = AttentionPool(config.hidden_size, config.similarity_size)
        self.image = AttentionPool(config.image_state_size, config.similarity_size)
        self.scale = nn.Parameter(torch.tensor(math.log(10.0)))
