"""Trainable residual vector quantisation.

transformers' EncodecModel only applies its codebooks. This adds training: EMA codebooks of van den
Oord et al. 2017, appendix A.1, with dead codes redrawn from the batch as in Dhariwal et al. 2020.
It uses that model's own buffers, so that nothing has to be converted afterwards.
"""

from typing import Protocol, cast

import torch
from torch import Tensor
from transformers import EncodecModel

DECAY = 0.99
DEAD_BELOW = 0.5


class Codebook(Protocol):
    """The attributes of transformers' EncodecEuclideanCodebook that are used here."""

    codebook_size: int
    embed: Tensor
    embed_avg: Tensor
    cluster_size: Tensor

    def quantize(self, hidden_states: Tensor) -> Tensor: ...
    def decode(self, embed_ind: Tensor) -> Tensor: ...


def _codebooks(codec: EncodecModel) -> list[Codebook]:
    return [cast(Codebook, layer.codebook) for layer in codec.quantizer.layers]


@torch.no_grad()
def _reseed(codebook: Codebook, vectors: Tensor, dead: Tensor, rng: torch.Generator) -> None:
    picks = torch.randint(len(vectors), (int(dead.sum()),), generator=rng)
    codebook.embed[dead] = vectors[picks]
    codebook.embed_avg[dead] = vectors[picks]
    codebook.cluster_size[dead] = 1.0


@torch.no_grad()
def _update(codebook: Codebook, vectors: Tensor, codes: Tensor, rng: torch.Generator) -> None:
    counts = torch.bincount(codes, minlength=codebook.codebook_size).to(vectors.dtype)
    sums = torch.zeros_like(codebook.embed).index_add_(0, codes, vectors)
    codebook.cluster_size.mul_(DECAY).add_(counts, alpha=1 - DECAY)
    codebook.embed_avg.mul_(DECAY).add_(sums, alpha=1 - DECAY)
    codebook.embed.copy_(codebook.embed_avg / codebook.cluster_size.clamp_min(1e-5)[:, None])
    dead = codebook.cluster_size < DEAD_BELOW * len(vectors) / codebook.codebook_size * 0.1
    if dead.any():
        _reseed(codebook, vectors, dead, rng)


def initialise(codec: EncodecModel, embeddings: Tensor, rng: torch.Generator) -> None:
    """Initialises every codebook from encoder outputs `[B, D, N]` and their residuals."""
    residual = embeddings.detach().transpose(1, 2).reshape(-1, embeddings.shape[1])
    for codebook in _codebooks(codec):
        everything = torch.ones(codebook.codebook_size, dtype=torch.bool)
        _reseed(codebook, residual, everything, rng)
        residual = residual - codebook.decode(codebook.quantize(residual))


def quantize(
    codec: EncodecModel, embeddings: Tensor, depth: int, rng: torch.Generator, *, learn: bool
) -> tuple[Tensor, Tensor]:
    """Quantises `[B, D, N]` with the first `depth` codebooks, straight-through.

    Returns the quantised embeddings `[B, D, N]` and the commitment loss (a scalar). With `learn`,
    the codebooks used are moved towards their inputs.
    """
    batch, width, frames = embeddings.shape
    flat = embeddings.transpose(1, 2).reshape(-1, width)
    residual = flat.detach().float()
    total = torch.zeros_like(residual)
    commitment = flat.new_zeros(())
    for codebook in _codebooks(codec)[:depth]:
        codes = codebook.quantize(residual)
        quantised = codebook.decode(codes)
        if learn:
            _update(codebook, residual, codes, rng)
        total = total + quantised
        commitment = commitment + (flat - total).pow(2).mean()
        residual = residual - quantised
    straight = flat + (total - flat).detach()
    return straight.reshape(batch, frames, width).transpose(1, 2), commitment / depth
