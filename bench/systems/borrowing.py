"""Transcripts of another system for other images: whose, and which item takes which."""

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Borrowing:
    """Whose transcripts a system takes: those of the label `of`, or of the first that competes."""

    of: str | None
    seed: int

    def pairs(self, names: Sequence[str]) -> dict[str, str]:
        """Returns every item's name with the one whose transcript it takes (see others)."""
        return others(names, self.seed)


def others(names: Sequence[str], seed: int) -> dict[str, str]:
    """Every name with another one: a cycle through all in a seeded order, so none keeps its own.

    A lone name has none beside it, and is left out.
    """
    order = list(names)
    random.Random(f"shuffled/{seed}").shuffle(order)
    pairs = zip(order, order[1:] + order[:1], strict=True)
    return {mine: other for mine, other in pairs if mine != other}
