"""What a job file may say, and how it becomes cells.

A job names a dataset, the systems to evaluate on it, who transcribes, and how it is scored.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from bench.asr.base import Asr
from bench.asr.shipped import DEFAULT, AnyAsr
from bench.common.bounds import Actors, Count, JobName, Seed
from bench.common.entries import Entry
from bench.common.validation import did_you_mean, keys_error, shown
from bench.common.yamlfile import Strict
from bench.datasets.base import to_evaluate
from bench.datasets.shipped import AnyDataset
from bench.jobs.grid import Grid, count
from bench.jobs.tables import TABLES, TableName
from bench.systems.shipped import AnySystem

MAX_CELLS = 10_000
"""A table of more is read by nobody, and each cell takes seconds to score."""


Normaliser = Literal["none", "whisper"]


def _how_many(value: Any) -> str:
    return "several" if isinstance(value, list | tuple) else "one"


class ScoringSpec(Strict):
    """How transcripts are scored.

    `references` is `all`, or `others`: without the caption that was spoken or gave the prompt.
    `normaliser` is applied to both sides before tokenising: `none`, or `whisper`, Whisper's
    English normaliser; of several the first is the job's own, the others show what depends on it.
    `metrics` are classes of the user's own, beside those that come with the suite.
    `replicates` are the bootstrap's, `confidence` the intervals'.
    """

    references: Literal["all", "others"] = "all"
    normaliser: Annotated[
        Annotated[Normaliser, Tag("one")]
        | Annotated[tuple[Normaliser, ...], Field(min_length=1, max_length=2), Tag("several")],
        Discriminator(_how_many),
    ] = "none"
    metrics: Annotated[tuple[Entry, ...], Field(max_length=50)] = ()
    replicates: Annotated[
        int, Field(ge=100, le=100_000, description="more change no digit that is shown")
    ] = 2000
    confidence: Annotated[float, Field(gt=0.5, le=0.999, description="as in 0.95")] = 0.95
    seed: Seed = 0

    @property
    def normalisers(self) -> tuple[Normaliser, ...]:
        """All of them, the job's own first."""
        return self.normaliser if isinstance(self.normaliser, tuple) else (self.normaliser,)

    def with_normaliser(self, name: Normaliser) -> "ScoringSpec":
        """The same scoring with one normaliser."""
        return self.model_copy(update={"normaliser": name})


class ClusterSpec(Strict):
    """How many actors of each kind (0: as the machine has), and how long a batch may take."""

    address: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    generators: Actors = 0
    transcribers: Actors = 0
    deadline_seconds: Annotated[
        int, Field(ge=1, le=86_400, description="a batch that takes a day will not end")
    ] = 900


class Job(Strict):
    """One evaluation.

    `score` says what is transcribed and scored where there is a prompt: the whole speech, or what
    follows the prompt, or both, as cells of their own.
    """

    name: JobName
    dataset: Annotated[AnyDataset, AfterValidator(to_evaluate)]
    limit: Count | None = None
    systems: Annotated[tuple[AnySystem, ...], Field(min_length=1)]
    grid: Grid = Grid()
    asr: Annotated[
        Annotated[AnyAsr, Tag("one")]
        | Annotated[tuple[AnyAsr, ...], Field(min_length=1), Tag("several")],
        Discriminator(_how_many),
    ] = DEFAULT
    score: Annotated[
        tuple[Literal["whole", "continuation"], ...], Field(min_length=1, max_length=2)
    ] = ("whole",)
    scoring: ScoringSpec = ScoringSpec()
    cluster: ClusterSpec = ClusterSpec()
    tables: tuple[TableName, ...] = tuple(table.name for table in TABLES)

    @property
    def asrs(self) -> tuple[Asr, ...]:
        """All who transcribe; the first is the job's own, the others show what depends on it."""
        return self.asr if isinstance(self.asr, tuple) else (self.asr,)

    @model_validator(mode="after")
    def _known_names(self) -> "Job":
        labels = [system.label for system in self.systems]
        transcribed = [asr.label for asr in self.asrs]
        for point in (*self.grid.include, *self.grid.exclude):
            if point.system is not None and point.system not in labels:
                near = did_you_mean(point.system, labels)
                raise keys_error({"grid": f"there is no system {shown(point.system)}; {near}"})
            if point.asr is not None and point.asr not in transcribed:
                near = did_you_mean(point.asr, transcribed)
                raise keys_error({"grid": f"there is no ASR {shown(point.asr)}; {near}"})
        return self

    @model_validator(mode="after")
    def _bounded(self) -> "Job":
        variants = sum(count(system, self.grid) for system in self.systems)
        cells = variants * len(self.asrs) * len(self.score)
        if cells > MAX_CELLS:
            reason = (
                f"makes {cells:,} cells, and a job has at most {MAX_CELLS:,}; name fewer values"
            )
            raise keys_error({"grid": reason})
        return self
