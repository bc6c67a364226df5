"""What a job file may say, and how it becomes cells.

A job names a dataset, the systems to evaluate on it, who listens, and how it is scored.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from bench.grid import Grid
from bench.systems.specs import SystemSpec
from bench.yamlfile import Strict


class ScenesSpec(Strict):
    """The shipped test split, or a folder made by `pixvox scenes`."""

    name: Literal["scenes"]
    folder: Path | None = None


class Flickr8kSpec(Strict):
    """A folder in Flickr8k's own layout, and the Flickr Audio folder for prompts and ceilings."""

    name: Literal["flickr8k"]
    root: Path
    audio: Path | None = None
    split: Literal["train", "val", "test"] = "test"


DatasetSpec = Annotated[ScenesSpec | Flickr8kSpec, Field(discriminator="name")]


class AsrSpec(Strict):
    """Who listens: greedy unless a beam is asked for; `batch` clips at a time.

    `model` is a name that the backend knows, a file or a folder; tiny.en comes with the suite.
    """

    backend: Literal["openai-whisper", "faster-whisper", "transformers-ctc"] = "openai-whisper"
    model: str = "tiny.en"
    beam_size: PositiveInt | None = None
    batch: PositiveInt = 8
    arithmetic: Literal["float32", "float16"] = "float32"

    @model_validator(mode="after")
    def _beam(self) -> "AsrSpec":
        if self.backend == "transformers-ctc" and self.beam_size is not None:
            raise ValueError("beam_size: transformers-ctc is heard greedily, as Im2Sp does")
        return self

    @property
    def label(self) -> str:
        """What tables call it: backend and model, without the folders before a file's name."""
        return f"{self.backend} {Path(self.model).name}"


Normaliser = Literal["none", "whisper"]


class ScoringSpec(Strict):
    """How transcripts are scored.

    `references` is `all`, or `others`: without the caption that was spoken or gave the prompt.
    `normaliser` is applied to both sides before tokenising: `none`, or `whisper`, Whisper's
    English normaliser; of several the first is the job's own, the others show what depends on it.
    `replicates` are the bootstrap's, `confidence` the intervals'.
    """

    references: Literal["all", "others"] = "all"
    normaliser: Normaliser | Annotated[tuple[Normaliser, ...], Field(min_length=1)] = "none"
    replicates: Annotated[int, Field(ge=100)] = 2000
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    seed: int = 0

    @property
    def normalisers(self) -> tuple[Normaliser, ...]:
        """All of them, the job's own first."""
        return self.normaliser if isinstance(self.normaliser, tuple) else (self.normaliser,)

    def with_normaliser(self, name: Normaliser) -> "ScoringSpec":
        """The same scoring with one normaliser."""
        return self.model_copy(update={"normaliser": name})


class ClusterSpec(Strict):
    """How many actors of each kind (0: as the machine has), and how long a batch may take."""

    address: str | None = None
    speakers: Annotated[int, Field(ge=0)] = 0
    listeners: Annotated[int, Field(ge=0)] = 0
    deadline_seconds: PositiveInt = 900


class Job(Strict):
    """One evaluation.

    `hear` says what is listened to where there is a prompt: the whole speech, or what follows
    the prompt, or both, as cells of their own.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    dataset: DatasetSpec
    limit: PositiveInt | None = None
    systems: Annotated[tuple[SystemSpec, ...], Field(min_length=1)]
    grid: Grid = Grid()
    asr: AsrSpec | Annotated[tuple[AsrSpec, ...], Field(min_length=1)] = AsrSpec()
    hear: Annotated[tuple[Literal["whole", "continuation"], ...], Field(min_length=1)] = ("whole",)
    scoring: ScoringSpec = ScoringSpec()
    cluster: ClusterSpec = ClusterSpec()
    tables: tuple[Literal["table1", "table2"], ...] = ("table1", "table2")

    @property
    def asrs(self) -> tuple[AsrSpec, ...]:
        """All who listen; the first is the job's own, the others show what depends on it."""
        return self.asr if isinstance(self.asr, tuple) else (self.asr,)

    @model_validator(mode="after")
    def _known_names(self) -> "Job":
        labels = [system.label for system in self.systems]
        heard = [asr.label for asr in self.asrs]
        for point in (*self.grid.include, *self.grid.exclude):
            if point.system is not None and point.system not in labels:
                raise ValueError(f"grid: no system {point.system!r}; there are {labels}")
            if point.asr is not None and point.asr not in heard:
                raise ValueError(f"grid: no asr {point.asr!r}; there are {heard}")
        return self
