"""What a metric is: columns that are counted for every item, and scores from their sums.

A class says by its base what it needs: `Metric` texts, `ImageMetric` texts and pictures,
`AudioMetric` the sound of the speech, `RowMetric` what a run's rows say of the speech. Who adds one
names it in `bench.metrics.shipped`, or, without touching this package, in a job's
`scoring.metrics`. Intervals, tests, tables and the gate follow from it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from bench.common.audio import Wave

if TYPE_CHECKING:
    import polars as pl

Array = npt.NDArray[np.float64]

References = Mapping[str, Sequence[str]]
"""Item id → its reference captions, tokenised; of the whole split, scored or not."""

Hypotheses = Mapping[str, str]
"""Item id → its tokenised transcript; "" where the item failed, so that it stays counted."""


@dataclass(frozen=True)
class ItemFiles:
    """What a dataset has of an item beside texts: its picture, and the recorded speech of the
    caption that the job takes, which prompts are cut from and ceilings say; None without one."""

    image: Path
    recording: Path | None = None


Files = Mapping[str, ItemFiles]
"""Item id → its files, of the whole split."""

Count = Callable[[Hypotheses, References], Array]
"""Counts what `Metric.statistics` says."""

Measure = Callable[[Sequence[Wave]], Array]
"""Measures what `AudioMetric.measure` says."""

SHORT = 3
ALWAYS = 5
"""See Score.display_priority."""


@dataclass(frozen=True)
class Score:
    """One number that a metric gives, in a unit, and how it is shown.

    `head` is its column's heading in tables. `display_priority` says how long a narrow table keeps
    that column: below 0 it goes before the intervals do, else after; from SHORT on a score is also
    in short tables, plots and the gate; at ALWAYS it is shown everywhere. Boards are sorted by the
    score that is `leading`, and the worst items are found by it. `hub` is the metric's type on the
    Hugging Face hub. No interval goes beyond `most`, the highest score that there is. A score that
    counts errors says `lower_is_better`; one of which neither much nor little is better, such as a
    rate, is not `ranked`: no row is the best by it, and no gate finds a loss in it.
    """

    name: str
    head: str
    display_priority: int = 4
    leading: bool = False
    hub: str = ""
    most: float = math.inf
    lower_is_better: bool = False
    unit: str = "percent"
    ranked: bool = True


class CorpusMetric(ABC):
    """A metric whose scores are functions of columns summed over items.

    `prior` is for scores that are 0 as long as something rare was not seen, which no resampled
    corpus can make up: the columns of the smallest corpus that is fully right. Intervals draw it
    once beside the items; scores never hold it.

    Two metrics of one class are equal: a class counts the same wherever it is made. One that has
    settings (bench.metrics.settings) is a frozen dataclass, and is equal where they are.
    """

    name: ClassVar[str]
    columns: ClassVar[tuple[str, ...]]
    scores: ClassVar[tuple[Score, ...]]
    prior: ClassVar[tuple[float, ...] | None] = None

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    def weights(self) -> str:
        """The digest of what it computes with; raises UserError where that is not there."""
        return ""

    def settings(self) -> str:
        """What its scores depend on beside what `weights` is a digest of, for signatures.

        It holds none of the characters `,@:|`; "" for nothing.
        """
        return ""

    def unusable(self, files: Files) -> str:
        """Why it cannot be computed for a job's items, and what to do; "" where it can."""
        return ""

    @abstractmethod
    def score(self, sums: Array) -> Array:
        """Every score in its unit, `[..., len(scores)]`, from summed columns `[..., D]`."""


class Metric(CorpusMetric):
    """A metric of texts: what was transcribed of an item, and what that is compared with.

    `against` says what transcripts are compared with: the image's `references`, the `facts` of a
    dataset that knows them (they then come in place of references), or the `caption` that was
    spoken, where the words are not the system's own; then transcript and caption come as
    they are, not tokenised.

    One that `waits` for a process of its own is counted in another thread, beside the others.
    """

    against: ClassVar[Literal["references", "facts", "caption"]] = "references"
    waits: ClassVar[bool] = False

    @abstractmethod
    def statistics(self, hypotheses: Hypotheses, references: References) -> Array:
        """The columns of every hypothesis, `[n, len(columns)]`, in the hypotheses' order."""

    def opened(self, references: References, cache: Path) -> AbstractContextManager[Count]:
        """`statistics` for many corpora with the same references.

        For a metric that keeps a process or a table; `cache` is a folder that may be thrown away.
        """
        return nullcontext(self.statistics)


class ImageMetric(CorpusMetric):
    """A metric of what was transcribed of an item beside its picture.

    It is computed where scores are, by the driver, which has the files. One that `waits` is counted
    as a `Metric` is.
    """

    waits: ClassVar[bool] = False

    @abstractmethod
    def statistics(self, hypotheses: Hypotheses, references: References, files: Files) -> Array:
        """The columns of every hypothesis, `[n, len(columns)]`, in the hypotheses' order."""

    def opened(
        self, references: References, files: Files, cache: Path
    ) -> AbstractContextManager[Count]:
        """`statistics` for many corpora of the same items; see Metric."""
        return nullcontext(lambda texts, truths: self.statistics(texts, truths, files))


class AudioMetric(CorpusMetric):
    """A metric of how speech sounds.

    Every speech is measured once, where it is decoded and transcribed, and its columns are kept in
    the run's ledger. Their key is of the speech, `name`, `version` and the digest of the `weights`;
    for a class of the user's own, of its source too.

    `measure` is given sound at `rate` Hz, and always `batch` clips: where fewer are left, the first
    is repeated. `absent` are the columns of an item without speech; zeros leave it out of a mean.
    What is measured may be other values than the columns, `measured` of them: `statistics` then
    makes columns of them where scores are computed, beside the items' files.
    """

    rate: ClassVar[int] = 16_000
    batch: ClassVar[int] = 1
    version: ClassVar[str] = "1"
    absent: ClassVar[tuple[float, ...] | None] = None
    measured: ClassVar[int] = 0

    @property
    def values(self) -> int:
        """How many values it measures of a clip."""
        return self.measured or len(self.columns)

    @abstractmethod
    def measure(self, waves: Sequence[Wave]) -> Array:
        """The values of every clip, `[batch, values]`; clips are `[T]` in -1..1, T > 0.

        Raises SpeechError where a clip cannot be measured.
        """

    def statistics(self, values: Array, files: Sequence[ItemFiles], cache: Path) -> Array:
        """The columns `[n, len(columns)]` of what was measured of n items, `[n, values]`.

        `cache` is a folder that may be thrown away.
        """
        return values

    def loaded(self, device: str, threads: int) -> Measure:
        """`measure` on a device (`cpu` or `cuda`), for a metric that holds a model."""
        return self.measure


class RowMetric(CorpusMetric):
    """A metric of what a run's rows say of each speech: its transcript, seconds, frames, its end.

    A text, which is no speech, does not have it.
    """

    @abstractmethod
    def statistics(self, rows: "pl.DataFrame") -> Array:
        """The columns of every row, `[n, len(columns)]`; `rows` have the columns of
        `bench.store.rows`: TRANSCRIBED and JOINED. The status of a failed item is not `ok`."""


def is_of_words(metric: CorpusMetric) -> bool:
    """Whether it compares words with the same truth for all, so that any text can be counted."""
    return isinstance(metric, ImageMetric) or (
        isinstance(metric, Metric) and metric.against != "caption"
    )


def needs_caption(metric: CorpusMetric) -> bool:
    """Whether it compares words with the caption that was spoken, which only some rows have."""
    return isinstance(metric, Metric) and metric.against == "caption"
