"""What every metric takes and gives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

References = Mapping[str, Sequence[str]]
"""Item id → its reference captions, tokenised."""

Hypotheses = Mapping[str, str]
"""Item id → its tokenised transcript; "" where the item failed, so that it stays counted."""


@dataclass(frozen=True)
class Scored:
    """Corpus scores by name, and per-item scores in hypothesis order, all in percent."""

    corpus: dict[str, float]
    items: dict[str, list[float]]
