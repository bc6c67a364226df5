"""Transcripts that a system takes from another system: whose, and which item gets which."""

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Borrowing:
    """Whose transcripts a system uses: those of the label `of`, or of the first competing one."""

    of: str | None
    seed: int

    def pairs(self, names: Sequence[str]) -> dict[str, str]:
        """Returns, by item, the item whose transcript it gets (see others)."""
        return others(names, self.seed)


def others(names: Sequence[str], seed: int) -> dict[str, str]:
    """Returns, for every name, another one: a cycle through all names in a seeded order.

    A single name has no other one and is left out.
    """
    order = list(names)
    random.Random(f"shuffled/{seed}").shuffle(order)
    pairs = zip(order, order[1:] + order[:1], strict=True)
    return {mine: other for mine, other in pairs if mine != other}
