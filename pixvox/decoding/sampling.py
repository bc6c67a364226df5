"""Chooses units from logits, with noise that depends on the item and not on the batch."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor

T = TypeVar("T", int, float)
V = TypeVar("V")

Each: TypeAlias = "T | tuple[T, ...]"
"""One value for all codebooks, or a tuple of one for each."""


def each(value: "Each[T]", codebooks: int) -> tuple[T, ...]:
    """Returns the value of every codebook; raises ValueError for another number of values."""
    if not isinstance(value, tuple):
        return (value,) * codebooks
    if len(value) != codebooks:
        raise ValueError(
            f"{len(value)} values for {codebooks} codebooks; give one, or one for each"
        )
    return value


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How units are chosen; the first four may be one number, or one for each codebook.

    `temperature` 0 is greedy. `top_k` 0 and `top_p` 1 keep all units. `guidance` is the scale of
    classifier-free guidance against the model's null image, 1 for none. After `longest_run` frames
    with the same unit in the first codebook, the same unit again ends the speech, 0 for never:
    greedy decoding repeats the unit of silence without end. `max_seconds` is the longest speech,
    including the prompt; speech of that length is recorded as not ended. Of `candidates`
    independent draws the best is chosen (pixvox.decoding.candidates). `slots` sequences are decoded
    at once; each `lanes` neighbours share one image's keys and values. `arithmetic` bfloat16, on a
    GPU only, reads half the bytes a step and rounds more. Raises ValueError for a value out of its
    range.
    """

    temperature: "Each[float]" = 0.0
    top_k: "Each[int]" = 0
    top_p: "Each[float]" = 1.0
    guidance: "Each[float]" = 1.0
    longest_run: int = 0
    seed: int = 0
    candidates: int = 1
    max_seconds: float = 6.0
    slots: int = 32
    lanes: int = 1
    arithmetic: str = "float32"

    def __post_init__(self) -> None:
        if any(heat != 0 and not 0.001 <= heat <= 100 for heat in _values(self.temperature)):
            raise ValueError("need temperature 0 or from 0.001 to 100; lower ones overflow")
        if any(k < 0 for k in _values(self.top_k)):
            raise ValueError("need top_k >= 0")
        if any(not 0 < p <= 1 for p in _values(self.top_p)):
            raise ValueError("need 0 < top_p <= 1")
        if any(not 0 <= scale <= 100 for scale in _values(self.guidance)):
            raise ValueError("need guidance from 0 to 100")
        if self.longest_run < 0:
            raise ValueError("need longest_run >= 0 frames")
        if self.max_seconds <= 0 or self.slots < 1:
            raise ValueError("need max_seconds > 0 and slots >= 1")
        if self.candidates < 1 or (self.candidates > 1 and not self.draws):
            raise ValueError("need candidates >= 1, and a temperature for more than one")
        if self.lanes < 1 or self.slots % self.lanes:
            raise ValueError(f"lanes must divide the {self.slots} slots, not {self.lanes}")
        if self.arithmetic not in ("float32", "bfloat16"):
            raise ValueError(f"arithmetic {self.arithmetic!r}: use float32 or bfloat16")

    @property
    def draws(self) -> bool:
        """Whether chance decides any unit."""
        return any(heat > 0 for heat in _values(self.temperature))

    @property
    def guided(self) -> bool:
        """Whether the null image is needed too."""
        return any(scale != 1 for scale in _values(self.guidance))


def _values(value: "Each[T]") -> tuple[T, ...]:
    return value if isinstance(value, tuple) else (value,)


def item_noise(seed: int, item: str, steps: int, codebooks: int, *, candidate: int = 0) -> Tensor:
    """Returns the item's uniform noise in [0, 1), `[steps, K]`, which depends only on the
    arguments.

    It is Philox (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3") keyed by a
    hash. Row s is for step s, however many steps there are. The first candidate has the noise of an
    item without candidates.
    """
    named = f"{seed}\0{item}\0{candidate}" if candidate else f"{seed}\0{item}"
    key = hashlib.sha256(named.encode()).digest()
    rng = np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "little")))
    return torch.from_numpy(rng.random((steps, codebooks), dtype=np.float32))


@dataclass(frozen=True)
class Filter:
    """The filter of one codebook's logits before a draw."""

    temperature: float
    top_k: int
    top_p: float

    def __call__(self, logits: Tensor) -> Tensor:
        """Returns logits `[..., V]` over temperature, -inf outside the top k and the top p.

        Top-p is Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1:
        the smallest set of the likeliest units whose probability reaches p.
        """
        logits = logits / self.temperature
        if 0 < self.top_k < logits.shape[-1]:
            least = logits.topk(self.top_k, dim=-1).values[..., -1:]
            logits = logits.masked_fill(logits < least, -torch.inf)
        if self.top_p < 1:
            ordered, order = logits.sort(dim=-1, descending=True, stable=True)
            before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
            ordered = ordered.masked_fill(before >= self.top_p, -torch.inf)
            logits = torch.empty_like(logits).scatter_(-1, order, ordered)
        return logits

    def choose(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """Returns units `[B, Q]` from logits `[B, Q, V]`: the likeliest, or a draw by inverse CDF.

        `uniform` `[B, Q]` in [0, 1) is the noise. A draw needs one number, so a whole item's noise
        is a small table that can be computed before decoding starts.
        """
        if self.temperature == 0:
            return logits.argmax(-1)
        # In float64 the product below is less than the total, so no unit of probability 0 is drawn.
        cumulative = self(logits).softmax(-1).double().cumsum(-1)
        threshold = uniform[..., None] * cumulative[..., -1:]
        return (cumulative <= threshold).sum(-1)


def _runs(values: "Sequence[V]") -> "list[tuple[slice, V]]":
    """Returns runs of neighbouring codebooks with the same value, which are processed together."""
    runs: list[tuple[slice, V]] = []
    for q, value in enumerate(values):
        first = runs.pop()[0].start if runs and runs[-1][1] == value else q
        runs.append((slice(first, q + 1), value))
    return runs


class Chooser:
    """Chooses the units of K codebooks by a Decoding.

    Raises ValueError if the Decoding has values for another number of codebooks.
    """

    def __init__(self, decoding: Decoding, codebooks: int) -> None:
        filters = [
            Filter(*values)
            for values in zip(
                each(decoding.temperature, codebooks),
                each(decoding.top_k, codebooks),
                each(decoding.top_p, codebooks),
                strict=True,
            )
        ]
        self._parts = _runs(filters)
        self._guided = [
            (part, scale) for part, scale in _runs(each(decoding.guidance, codebooks)) if scale != 1
        ]

    def guide(self, logits: Tensor, null: Tensor) -> Tensor:
        """Moves logits `[B, K, V]` away from those of the null image, in place.

        Ho & Salimans 2022, "Classifier-Free Diffusion Guidance", equation 6, whose 1 + w is the
        scale here: `null + scale * (logits - null)`, with each codebook's own scale.
        """
        for part, scale in self._guided:
            logits[:, part] = null[:, part] + scale * (logits[:, part] - null[:, part])
        return logits

    def choose(self, logits: Tensor, uniform: Tensor) -> Tensor:
        """Returns units `[B, K]` from logits `[B, K, V]` and noise `[B, K]` in [0, 1)."""
        if len(self._parts) == 1:
            return self._parts[0][1].choose(logits, uniform)
        return torch.cat([f.choose(logits[:, q], uniform[:, q]) for q, f in self._parts], dim=1)
