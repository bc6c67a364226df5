"""What a training job file may say."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from bench.yamlfile import Strict
from pixvox.codec_training import CodecTraining
from pixvox.training import Training
from pixvox.vision_training import VisionTraining


class ScenesData(Strict):
    """Which scenes to train on; they are built under `folder` when they are not there."""

    folder: Path = Path("work/scenes")
    train_images: int
    validation_images: int = 0
    seed: int = 0


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
    """A PixVoxLM of the tiny size over a codec's units, its image encoder frozen."""

    kind: Literal["pixvox"]
    output: Path
    data: ScenesData
    pattern: str
    codec: str
    bandwidth: float
    vision: Path
    dropout: float = 0.1
    threads: int = 0
    plan: Training


TrainingJob = Annotated[CodecJob | VisionJob | PixVoxJob, Field(discriminator="kind")]
