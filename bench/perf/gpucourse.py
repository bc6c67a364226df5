"""What a check of a GPU is given and returns, and what several of them compute with."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bench.common.machine import wait
from pixvox.configuration import PixVoxConfig
from pixvox.decoding.engine import Engine
from pixvox.decoding.requests import Generation, Request
from pixvox.decoding.sampling import Decoding
from pixvox.modeling import PixVoxLM

ZOO = "zoo:pixvox-tiny-delay"


@dataclass(frozen=True)
class Finding:
    """What one check saw, in words and figures; `holds` is None where it only measures."""

    words: str
    holds: bool | None = None
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Course:
    """The device and how much is computed on it; `base` is the paper's size, with random weights.

    `seconds` is the longest speech, `arithmetics` what is decoded in, `clips` how many recordings
    are transcribed, `at_once` how many of them together, and `items` how many images a whole run
    has, with each of `actors` actors of either kind.
    """

    device: torch.device
    base: bool
    slots: tuple[int, ...]
    seconds: float
    arithmetics: tuple[str, ...]
    clips: int
    at_once: tuple[int, ...]
    items: int
    actors: tuple[int, ...]
    training_steps: int

    @property
    def on_gpu(self) -> bool:
        """Whether what is measured is a GPU."""
        return self.device.type == "cuda"


def course_of(device: torch.device) -> Course:
    """The full course for a GPU, the small one for a CPU."""
    if device.type == "cuda":
        return Course(
            device=device,
            base=True,
            slots=(64, 256),
            seconds=6.0,
            arithmetics=("float32", "bfloat16"),
            clips=64,
            at_once=(1, 8, 64),
            items=200,
            actors=(1, 3),
            training_steps=30,
        )
    return Course(
        device=device,
        base=False,
        slots=(4,),
        seconds=1.0,
        arithmetics=("float32",),
        clips=2,
        at_once=(2,),
        items=1,
        actors=(1,),
        training_steps=2,
    )


def random_model(course: Course, pattern: str, *, base: bool) -> PixVoxLM:
    """A model of the paper's size, or a small one, with random weights."""
    torch.manual_seed(0)
    if not base:
        return PixVoxLM(PixVoxConfig.tiny(pattern=pattern)).eval().to(course.device)
    config = PixVoxConfig.base(pattern=pattern, num_codebooks=8)
    return PixVoxLM(config).eval().to(course.device)


def new_engine(
    course: Course, model: PixVoxLM, decoding: Decoding, *, graphs: bool = True
) -> Engine:
    """The engine as a GPU runs it; without graphs it takes the same steps one by one."""
    engine = Engine(model, decoding, dense=None if course.on_gpu else True)
    engine.poll = 8
    if course.on_gpu and not graphs:
        engine._replay = engine._advance  # type: ignore[method-assign]
    return engine


def ask(model: PixVoxLM, count: int, prompt_frames: int = 0) -> tuple[Tensor, list[Request]]:
    """Image states of noise and a request for each; every second one has a prompt."""
    config = model.config
    shape = (count, config.image_positions, config.image_state_size)
    states = torch.randn(shape, generator=torch.manual_seed(1)).to(model.device, model.dtype)
    shape_of_prompt = (config.num_codebooks, prompt_frames)
    prompt = torch.randint(0, config.codebook_size, shape_of_prompt, generator=torch.manual_seed(3))
    return states, [
        Request(item=str(row), image=row, prompt=prompt if row % 2 else prompt[:, :0])
        for row in range(count)
    ]


def count_equal(speeches: Sequence[Generation], others: Sequence[Generation]) -> int:
    """How many speeches have the units of the other of the same item."""
    units = {speech.item: speech.units for speech in others}
    return sum(torch.equal(speech.units, units[speech.item]) for speech in speeches)


def seconds_of(course: Course, work: Callable[[], object]) -> float:
    """How long a piece of work takes, the device's part included."""
    wait(course.device)
    started = time.perf_counter()
    work()
    wait(course.device)
    return time.perf_counter() - started
