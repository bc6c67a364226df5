"""What a metric is: columns that are counted for every item, and scores from their sums.

Who adds a metric writes one class and names it in `bench.metrics.shipped`, or, without touching
this package, in a job's `scoring.metrics`. Intervals, tests, tables and the gate follow from it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

References = Mapping[str, Sequence[str]]
"""Item id → its reference captions, tokenised; of the whole split, scored or not."""

Hypotheses = Mapping[str, str]
"""Item id → its tokenised transcript; "" where the item failed, so that it stays counted."""

Count = Callable[[Hypotheses, References], Array]
"""Counts what `Metric.statistics` says."""

SHORT = 3
ALWAYS = 5
"""See Score.kept."""


@dataclass(frozen=True)
class Score:
    """One number that a metric gives, in percent, and how it is shown.

    `head` is its column's heading in tables. `kept` says how long a narrow table keeps that
    column: below 0 it goes before the intervals do, else after; from SHORT on a score is also in
    short tables, plots and the gate; at ALWAYS it is shown everywhere. Boards are sorted by the
    score that is `leading`, and the worst items are found by it. `hub` is the metric's type on the
    Hugging Face hub. No interval goes beyond `most`, the highest score that there is. A score that
    counts errors says `lower_is_better`.
    """

    name: str
    head: str
    kept: int = 4
    leading: bool = False
    hub: str = ""
    most: float = math.inf
    lower_is_better: bool = False


class Metric(ABC):
    """A corpus metric whose score is a function of columns summed over items.

    `against` says what transcripts are compared with: the image's `references`, the `facts` of a
    dataset that knows them (they then come in place of references), or the `caption` that was
    spoken, where the words are not the system's own; then transcript and caption come as
    they are, not tokenised.

    `prior` is for scores that are 0 as long as something rare was not seen, which no resampled
    corpus can make up: the columns of the smallest text that is fully right. Intervals draw it
    once beside the items; scores never hold it.

    One that `waits` for a process of its own is counted in another thread, beside the others.
    """

    name: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    scores: ClassVar[tuple[Score, ...]]
    against: ClassVar[Literal["references", "facts", "caption"]] = "references"
    prior: ClassVar[tuple[float, ...] | None] = None
    waits: ClassVar[bool] = False

    @abstractmethod
    def statistics(self, hypotheses: Hypotheses, references: References) -> Array:
        """The columns of every hypothesis, `[n, len(columns)]`, in the hypotheses' order."""

    @abstractmethod
    def score(self, sums: Array) -> Array:
        """Every score in percent, `[..., len(scores)]`, from summed columns `[..., D]`."""

    def opened(self, references: References, cache: Path) -> AbstractContextManager[Count]:
        """`statistics` for many corpora with the same references.

        For a metric that keeps a process or a table; `cache` is a folder that may be thrown away.
        """
        return nullcontext(self.statistics)
