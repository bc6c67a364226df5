"""What can be evaluated: models, ceilings, floors, and files that any other system made."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bench.bounds import (
    Bandwidth,
    Caption,
    Label,
    Note,
    Number,
    Option,
    Seed,
    Share,
    SomeShare,
    SpeechSeconds,
    Temperature,
    TopP,
)
from bench.entries import Entry
from bench.validation import keys_error
from bench.yamlfile import FilePath, Strict, WeightsName

Pattern = Literal["parallel", "delay", "partial-delay", "flatten", "coarse-first"]
Slots = Annotated[int, Field(ge=1, le=4096, description="each takes memory for one sequence")]


class DecodingSpec(Strict):
    """How units are chosen; recorded with every row. See pixvox.sampling.Decoding."""

    temperature: Temperature = 0.0
    top_k: Number = 0
    top_p: TopP = 1.0
    seed: Seed = 0
    max_seconds: SpeechSeconds = 6.0
    slots: Slots = 32
    lanes: Slots = 1
    arithmetic: Literal["float32", "bfloat16"] = "float32"

    @model_validator(mode="after")
    def _lanes_divide(self) -> "DecodingSpec":
        if self.slots % self.lanes:
            reason = f"must divide the {self.slots} slots, and {self.lanes} does not"
            raise keys_error({"lanes": reason})
        return self


class PixVoxSpec(Strict):
    """A PixVoxLM checkpoint; one cell for each prompt, the share of the reference speech given."""

    kind: Literal["pixvox"]
    label: Label
    weights: WeightsName
    codec: WeightsName | None = None
    pattern: Pattern | None = None
    prompts: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.0,)
    prompt_caption: Caption = 0
    decoding: DecodingSpec = DecodingSpec()


class TextSpec(Strict):
    """One of the dataset's captions, scored against the others: what people reach, unspoken."""

    kind: Literal["text"]
    label: Label = "reference text"
    caption: Caption = 0


class RecordedSpec(Strict):
    """The dataset's own speech of one caption: what the listener makes of a perfect system."""

    kind: Literal["recorded"]
    label: Label = "recorded speech"
    caption: Caption = 0


class ResynthesisSpec(Strict):
    """The dataset's speech through a codec and back: the ceiling of every system over it."""

    kind: Literal["resynthesis"]
    label: Label = "resynthesis"
    codec: WeightsName
    bandwidth: Bandwidth
    caption: Caption = 0


class PromptSpec(Strict):
    """The prompt and nothing after it, through the codec: what completion reaches by copying."""

    kind: Literal["prompt"]
    label: Label = "prompt copied"
    codec: WeightsName
    bandwidth: Bandwidth
    prompts: Annotated[tuple[SomeShare, ...], Field(min_length=1)] = (0.25, 0.5)
    caption: Caption = 0


class SilenceSpec(Strict):
    """Zeros: what an ASR makes of nothing."""

    kind: Literal["silence"]
    label: Label = "silence"
    seconds: SpeechSeconds = 3.0


class NoiseSpec(Strict):
    """White noise, keyed by seed and item; `level` is its root mean square in dB full scale."""

    kind: Literal["noise"]
    label: Label = "noise"
    seconds: SpeechSeconds = 3.0
    level: Annotated[
        float, Field(ge=-120, le=0, description="dB full scale; below, nothing can be heard")
    ] = -30.0
    seed: Seed = 0


class ShuffledSpec(Strict):
    """Recorded speech of another image of the split: what fits any picture.

    Without recordings, or with `of`, the transcripts of a system of the job for other images:
    what it scores that never looked. `of` is that system's label; without it the first one that
    competes, without a prompt.
    """

    kind: Literal["shuffled"]
    label: Label = "shuffled speech"
    of: Label | None = None
    caption: Caption = 0
    seed: Seed = 0


class WavsSpec(Strict):
    """A folder of audio files, one an item, made by any system.

    A file is found by `file`, in which `{id}` stands for the item's id and `{stem}` for its
    image's name without suffix, or by `mapping`, a CSV with the columns `item` and `file`.
    """

    kind: Literal["wavs"]
    label: Label
    folder: FilePath
    file: WeightsName = "{stem}.wav"
    mapping: FilePath | None = None
    training: Note = "unknown"


class UnitsSpec(Strict):
    """A Parquet file of EnCodec units: `item`, and `units`, K lists of N integers each."""

    kind: Literal["units"]
    label: Label
    file: FilePath
    codec: WeightsName
    bandwidth: Bandwidth
    training: Note = "unknown"


class PythonSpec(Strict):
    """A class of the user's own, `package.module:Class` (see bench.systems.plugin).

    `version` is part of the cell's key, as is the module's source: raise it when what the class
    depends on has changed.
    """

    kind: Literal["python"]
    label: Label
    entry: Entry
    options: dict[str, Option] = Field(default_factory=dict)
    version: Note = ""
    training: Note = "unknown"


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
