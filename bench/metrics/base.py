"""The contract of a metric: columns that are counted for every item, and scores from their sums.

A class says by its base what it needs: `Metric` texts, `ImageMetric` texts and pictures,
`AudioMetric` the sound of the speech, `RowMetric` what a run's rows say of the speech. Who adds one
names it in `bench.metrics.shipped`, or, without touching this package, in a job's
`scoring.metrics`. Intervals, tests, tables and the gate follow from it.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from bench.common.audio import Wave

if TYPE_CHECKING:
    import polars as pl

Array = npt.NDArray[np.float64]

References = Mapping[str, Sequence[str]]
"""Item id → its tokenised reference captions, for the whole split, scored or not."""

Hypotheses = Mapping[str, str]
"""Item id → its tokenised transcript; "" for a failed item, so that it is counted."""


@dataclass(frozen=True)
class ItemFiles:
    """What a dataset has of an item beside texts: its picture, and the recorded speech of the
    caption that the job takes, which prompts are cut from and ceilings say; None without one."""

    image: Path
    recording: Path | None = None


Files = Mapping[str, ItemFiles]
"""Item id → its files, of the whole split."""

Count = Callable[[Hypotheses, References], Array]
"""The type of `Metric.statistics`."""

Measure = Callable[[Sequence[Wave]], Array]
"""The type of `AudioMetric.measure`."""

# Values of Score.display_priority.
SHORT = 3
ALWAYS = 5


@dataclass(frozen=True)
class Score:
    """One number that a metric returns, its unit, and how it is shown.

    `head` is its column's heading in tables. `display_priority` decides which columns a narrow
    table drops first: those below 0 before the intervals, all others after them. A score from SHORT
    on is also in short tables, plots and the gate; one with ALWAYS is shown everywhere.
    Leaderboards are sorted by the score that is `leading`, which also decides which items are the
    worst. `hub` is the metric's type on the Hugging Face hub. `most` is the highest possible score,
    which bounds intervals. `lower_is_better` is True for scores that count errors. `ranked` is
    False for a score with no better direction, such as a rate: no row is marked as the best by it,
    and no gate reports a loss in it.
    """

    name: str
    head: str
    _: KW_ONLY
    display_priority: int = 4
    leading: bool = False
    hub: str = ""
    most: float = math.inf
    lower_is_better: bool = False
    unit: str = "percent"
    ranked: bool = True


class CorpusMetric(ABC):
    """A metric whose scores are functions of columns summed over items.

    `prior` is for scores that are 0 unless something rare was observed, which resampling cannot
    add: the columns of the smallest corpus that is entirely correct. Intervals may draw it once
    beside the items; scores never include it.

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
        """Returns the digest of the weights that it uses; raises UserError if they are missing."""
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
        """Returns every score in its unit, `[..., len(scores)]`, from summed columns `[..., D]`."""


class Metric(CorpusMetric):
    """A metric of texts: an item's transcript, and what it is compared with.

    `against` says what transcripts are compared with: the image's `references`; the `facts` of a
    dataset, passed in place of references; or the spoken `caption`, for speech of given words, in
    which case transcript and caption are not tokenised.

    `waits` is True for a metric that waits for another process; it is counted in another thread.
    """

    against: ClassVar[Literal["references", "facts", "caption"]] = "references"
    waits: ClassVar[bool] = False

    @abstractmethod
    def statistics(self, hypotheses: Hypotheses, references: References) -> Array:
        """Returns each hypothesis's columns, `[n, len(columns)]`, in the hypotheses' order."""

    def opened(self, references: References, cache: Path) -> AbstractContextManager[Count]:
        """Returns a context manager of `statistics` for many corpora with the same references.

        It is for a metric that keeps a process or a table; `cache` is a folder that may be deleted.
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
    """A metric of the sound of speech.

    Every speech is measured once, where it is decoded and transcribed, and its columns are stored
    in the run's ledger. Their key consists of the speech's key, `name`, `version` and the digest of
    the `weights`; for a user's class, also of its source.

    `measure` is given sound at `rate` Hz, and always `batch` clips: where fewer are left, the first
    is repeated. `absent` are the columns of an item without speech; zeros leave it out of a mean.
    `measure` may return other values than the columns: `measured` is then their number, and
    `statistics` turns them into columns when scores are computed.
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

        Raises SpeechError if a clip cannot be measured.
        """

    def statistics(self, values: Array, files: Sequence[ItemFiles], cache: Path) -> Array:
        """The columns `[n, len(columns)]` of what was measured of n items, `[n, values]`.

        `cache` is a folder that may be thrown away.
        """
        return values

    def loaded(self, device: str, threads: int) -> Measure:
        """Returns `measure` on a device (`cpu` or `cuda`), for a metric that loads a model."""
        return self.measure


class RowMetric(CorpusMetric):
    """A metric of a run's rows: each speech's transcript, seconds, frames, and whether it ended.

    Systems that are texts have no such score.
    """

    @abstractmethod
    def statistics(self, rows: "pl.DataFrame") -> Array:
        """Returns the columns of every row, `[n, len(columns)]`; `rows` have the columns of
        `bench.store.rows`: TRANSCRIBED and JOINED. The status of a failed item is not `ok`."""


def is_of_words(metric: CorpusMetric) -> bool:
    """Whether it compares words with the same truth for all, so that any text can be counted."""
    return isinstance(metric, ImageMetric) or (
        isinstance(metric, Metric) and metric.against != "caption"
    )


def needs_caption(metric: CorpusMetric) -> bool:
    """Returns whether it compares words with the spoken caption, which only some rows have."""
    return isinstance(metric, Metric) and metric.against == "caption"
