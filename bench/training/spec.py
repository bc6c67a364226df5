"""What a training job file may say."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from bench.systems.specs import Pattern
from bench.yamlfile import Strict
from pixvox.codec_training import CodecTraining
from pixvox.training import Training
from pixvox.vision_training import VisionTraining


class ScenesData(Strict):
    """Which scenes to train on; they are built under `folder` when they are not there."""

    name: Literal["scenes"] = "scenes"
    folder: Path = Path("work/scenes")
    train_images: int
    validation_images: int = 0
    seed: int = 0


class Flickr8kData(Strict):
    """Flickr8k's own folder and the Flickr Audio folder; what is computed goes under `folder`."""

    name: Literal["flickr8k"]
    root: Path
    audio: Path
    folder: Path = Path("work/flickr8k")


Data = ScenesData | Flickr8kData


class CodecJob(Strict):
    """An EnCodec of the tiny size from the first `clips` spoken captions.

    With `start_from`, a codec made before is trained on instead of a new one.
    """

    kind: Literal["codec"]
    output: Path
    data: ScenesData
    clips: int
    start_from: Path | None = None
    threads: int = 0
    plan: CodecTraining


class VisionJob(Strict):
    """A BLIP vision model of the tiny size from pictures and their captions."""

    kind: Literal["vision"]
    output: Path
    images: int
    seed: int = 0
    plan: VisionTraining


class PixVoxJob(Strict):
    """A PixVoxLM over a codec's units, by Ray Train on `workers` workers.

    It starts either from a BLIP captioning checkpoint (`blip`) or, at the zoo's size, from an
    image encoder alone (`vision`); `start_from` then names a PixVoxLM, trained over another image
    encoder, whose decoder is gone on from. Speech that needs more steps than the model has
    positions is an error that names it, unless `too_long` says to leave it out. `codec_name` is
    what the saved model calls its codec, where that is not how the job finds it; `address` is that
    of a running Ray cluster.
    """

    kind: Literal["pixvox"]
    output: Path
    data: Data
    pattern: Pattern
    codec: str
    codec_name: str | None = None
    bandwidth: float
    blip: str | None = None
    vision: Path | None = None
    start_from: Path | None = None
    positions: PositiveInt = 512
    too_long: Literal["fail", "skip"] = "fail"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    workers: PositiveInt = 1
    address: str | None = None
    threads: Annotated[int, Field(ge=0)] = 0
    tracking: Literal["tensorboard"] | None = None
    plan: Training

    @model_validator(mode="after")
    def _one_start(self) -> "PixVoxJob":
        if (self.blip is None) == (self.vision is None):
            raise ValueError("name what it starts from: either blip or vision")
        if self.start_from is not None and self.vision is None:
            raise ValueError("start_from goes with vision; blip brings a decoder of its own")
        return self


TrainingJob = Annotated[CodecJob | VisionJob | PixVoxJob, Field(discriminator="kind")]
