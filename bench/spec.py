"""What a job file may say, and how it becomes cells.

A job names a dataset, the systems to evaluate on it, who listens, and how it is scored.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from bench.yamlfile import Strict

Pattern = Literal["parallel", "delay", "partial-delay", "flatten", "coarse-first"]
Share = Annotated[float, Field(ge=0, lt=1)]


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


class DecodingSpec(Strict):
    """How units are chosen; recorded with every row. See pixvox.sampling.Decoding."""

    temperature: Annotated[float, Field(ge=0)] = 0.0
    top_k: Annotated[int, Field(ge=0)] = 0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int = 0
    max_seconds: Annotated[float, Field(gt=0)] = 6.0
    slots: PositiveInt = 32
    lanes: PositiveInt = 1
    arithmetic: Literal["float32", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _lanes_divide(self) -> "DecodingSpec":
        if self.slots % self.lanes:
            raise ValueError(f"lanes must divide the {self.slots} slots, not {self.lanes}")
        return self


class PixVoxSpec(Strict):
    """A PixVoxLM checkpoint; one cell for each prompt, the share of the reference speech given."""

    kind: Literal["pixvox"]
    label: str
    weights: str
    codec: str | None = None
    pattern: Pattern | None = None
    prompts: tuple[Share, ...] = (0.0,)
    prompt_caption: Annotated[int, Field(ge=0)] = 0
    decoding: DecodingSpec = DecodingSpec()


class RecordedSpec(Strict):
    """The dataset's own speech of one caption: what the listener makes of a perfect system."""

    kind: Literal["recorded"]
    label: str = "recorded speech"
    caption: Annotated[int, Field(ge=0)] = 0


class ResynthesisSpec(Strict):
    """The dataset's speech through a codec and back: the ceiling of every system over it."""

    kind: Literal["resynthesis"]
    label: str = "resynthesis"
    codec: str
    bandwidth: float
    caption: Annotated[int, Field(ge=0)] = 0


SystemSpec = Annotated[PixVoxSpec | RecordedSpec | ResynthesisSpec, Field(discriminator="kind")]


class AsrSpec(Strict):
    """Who listens: a Whisper model name or checkpoint file, greedy unless a beam is asked for."""

    model: str = "tiny.en"
    beam_size: PositiveInt | None = None
    batch: PositiveInt = 8
    arithmetic: Literal["float32", "float16"] = "float32"


class ScoringSpec(Strict):
    """How transcripts are scored.

    `references` is `all`, or `others`: without the caption that was spoken or gave the prompt.
    """

    references: Literal["all", "others"] = "all"


class ClusterSpec(Strict):
    """How many actors of each kind (0: as the machine has), and how long a batch may take."""

    address: str | None = None
    speakers: Annotated[int, Field(ge=0)] = 0
    listeners: Annotated[int, Field(ge=0)] = 0
    deadline_seconds: PositiveInt = 900


class Job(Strict):
    """One evaluation."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    dataset: DatasetSpec
    limit: PositiveInt | None = None
    systems: Annotated[tuple[SystemSpec, ...], Field(min_length=1)]
    asr: AsrSpec = AsrSpec()
    scoring: ScoringSpec = ScoringSpec()
    cluster: ClusterSpec = ClusterSpec()
    tables: tuple[Literal["table1", "table2"], ...] = ("table1", "table2")
