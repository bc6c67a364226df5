"""What can be evaluated: models, ceilings, floors, and files that any other system made."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from bench.yamlfile import Strict

Pattern = Literal["parallel", "delay", "partial-delay", "flatten", "coarse-first"]
Share = Annotated[float, Field(ge=0, lt=1)]
SomeShare = Annotated[float, Field(gt=0, lt=1)]
Number = Annotated[int, Field(ge=0)]


class DecodingSpec(Strict):
    """How units are chosen; recorded with every row. See pixvox.sampling.Decoding."""

    temperature: Annotated[float, Field(ge=0)] = 0.0
    top_k: Number = 0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int = 0
    max_seconds: PositiveFloat = 6.0
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
    prompt_caption: Number = 0
    decoding: DecodingSpec = DecodingSpec()


class TextSpec(Strict):
    """One of the dataset's captions, scored against the others: what people reach, unspoken."""

    kind: Literal["text"]
    label: str = "reference text"
    caption: Number = 0


class RecordedSpec(Strict):
    """The dataset's own speech of one caption: what the listener makes of a perfect system."""

    kind: Literal["recorded"]
    label: str = "recorded speech"
    caption: Number = 0


class ResynthesisSpec(Strict):
    """The dataset's speech through a codec and back: the ceiling of every system over it."""

    kind: Literal["resynthesis"]
    label: str = "resynthesis"
    codec: str
    bandwidth: PositiveFloat
    caption: Number = 0


class PromptSpec(Strict):
    """The prompt and nothing after it, through the codec: what completion reaches by copying."""

    kind: Literal["prompt"]
    label: str = "prompt copied"
    codec: str
    bandwidth: PositiveFloat
    prompts: tuple[SomeShare, ...] = (0.25, 0.5)
    caption: Number = 0


class SilenceSpec(Strict):
    """Zeros: what an ASR makes of nothing."""

    kind: Literal["silence"]
    label: str = "silence"
    seconds: PositiveFloat = 3.0


class NoiseSpec(Strict):
    """White noise, keyed by seed and item; `level` is its root mean square in dB full scale."""

    kind: Literal["noise"]
    label: str = "noise"
    seconds: PositiveFloat = 3.0
    level: Annotated[float, Field(le=0)] = -30.0
    seed: int = 0


class ShuffledSpec(Strict):
    """Recorded speech of another image of the split: what fits any picture.

    Without recordings, or with `of`, the transcripts of a system of the job for other images:
    what it scores that never looked. `of` is that system's label; without it the first one that
    competes, without a prompt.
    """

    kind: Literal["shuffled"]
    label: str = "shuffled speech"
    of: str | None = None
    caption: Number = 0
    seed: int = 0


class WavsSpec(Strict):
    """A folder of audio files, one an item, made by any system.

    A file is found by `file`, in which `{id}` stands for the item's id and `{stem}` for its
    image's name without suffix, or by `mapping`, a CSV with the columns `item` and `file`.
    """

    kind: Literal["wavs"]
    label: str
    folder: Path
    file: str = "{stem}.wav"
    mapping: Path | None = None
    training: str = "unknown"


class UnitsSpec(Strict):
    """A Parquet file of EnCodec units: `item`, and `units`, K lists of N integers each."""

    kind: Literal["units"]
    label: str
    file: Path
    codec: str
    bandwidth: PositiveFloat
    training: str = "unknown"


class PythonSpec(Strict):
    """A class of the user's own, `package.module:Class` (see bench.systems.plugin).

    `version` is part of the cell's key, as is the module's source: raise it when what the class
    depends on has changed.
    """

    kind: Literal["python"]
    label: str
    entry: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")]
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)
    version: str = ""
    training: str = "unknown"


SystemSpec = Annotated[
    PixVoxSpec
    | TextSpec
    | RecordedSpec
    | ResynthesisSpec
    | PromptSpec
    | SilenceSpec
    | NoiseSpec
    | ShuffledSpec
    | WavsSpec
    | UnitsSpec
    | PythonSpec,
    Field(discriminator="kind"),
]
CEILINGS = (TextSpec, RecordedSpec, ResynthesisSpec)
FLOORS = (SilenceSpec, NoiseSpec, ShuffledSpec, PromptSpec)
