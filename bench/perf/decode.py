"""`pixvox perf decode`: our engine, eager decoding of the same weights, and a lower bound."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.common.errors import UserError
from bench.common.machine import bandwidth, machine, wait
from bench.common.machine import save as save_figures
from bench.perf.eager import as_blip_text, eager_greedy
from pixvox.configuration import PixVoxConfig
from pixvox.decoding.engine import Engine
from pixvox.decoding.requests import Generation, Request
from pixvox.decoding.sampling import Decoding, Each
from pixvox.modeling import PixVoxLM
from pixvox.precision import precision
from pixvox.weights import resolve

SECONDS = (3.0, 10.0)
"""Shortest and longest speech in seconds for random weights, which never end speech."""
GUIDANCE = 2.0
"""The scale of guidance in guided methods; it does not change the work of a step."""


@dataclass(frozen=True)
class Measured:
    """One method of decoding: medians over the rounds."""

    way: str
    rows_per_second: float
    ms_per_step: float
    steps: int


class _FixedLengths(Engine):
    """An engine whose speeches end at given lengths, because random weights never end speech."""

    lengths: dict[str, int]

    def _start(self, admitted: Sequence[tuple[int, Request]]) -> None:
        super()._start(admitted)
        if self.lengths:
            for slot, request in admitted:
                self.ends[slot] = self.lengths[request.item]


def _model(name: str, pattern: str, codebooks: int, seconds: float) -> PixVoxLM:
    """Returns weights by name, or a model of the size `base` or `tiny` with random weights."""
    if name not in ("base", "tiny"):
        return PixVoxLM.from_pretrained(resolve(name), dtype=torch.float32).eval()
    torch.manual_seed(0)
    make = PixVoxConfig.base if name == "base" else PixVoxConfig.tiny
    sizes: dict[str, Any] = {"pattern": pattern}
    if name == "base":
        steps = round(seconds * 75) + codebooks + 1
        sizes |= {"num_codebooks": codebooks, "max_position_embeddings": max(512, steps)}
    return PixVoxLM(make(**sizes)).eval()


def _states(model: PixVoxLM, images: int, trained: bool) -> Tensor:
    """Returns image states `[I, P, M]` of shipped pictures, or noise for random weights."""
    config = model.config
    if not trained:
        return torch.randn(images, config.image_positions, config.image_state_size)
    from bench.datasets.scenes.load import load_scenes
    from pixvox.images import load_image

    items = load_scenes(None).items[:images]
    with torch.inference_mode():
        return torch.cat(
            [
                model.encode_images(load_image(i.image, config.scaling)[None].to(model.device))
                for i in items
            ]
        )


_READ_BY_NO_STEP = ("vision.", "embeddings.", "null_image", "projection.", "similarity_head.")
"""Prefixes of the names of weights that a decoding step does not read."""


def floor_seconds(
    model: PixVoxLM, rows: int, images: int, positions: float, *, speed: float
) -> float:
    """Returns the lower bound of a step in s: every weight, and keys and values once, over `speed`.

    `positions` is the mean number of positions of a row; `images` memories are read once each.
    """
    config = model.config
    width = model.dtype.itemsize
    per_position = 2 * config.num_hidden_layers * config.hidden_size
    weights = sum(
        p.numel()
        for name, p in model.named_parameters()
        # Embeddings are looked up, and image states are projected before the first step. No step
        # computes similarities.
        if not name.startswith(_READ_BY_NO_STEP)
        and not (".crossattention.key" in name or ".crossattention.value" in name)
    )
    return (
        width
        * (weights + per_position * (rows * positions + images * config.image_positions))
        / speed
    )


@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """What to measure."""

    weights: str
    slots: int
    images: int
    seconds: float
    rounds: int
    pattern: str = "delay"
    codebooks: int = 8


Way = Callable[[], tuple[list[Tensor], int]]
"""Decodes all speeches once: returns their units `[K, T]` each, and the number of steps."""


class _Course:
    """A model, image states and requests, the same for every method of decoding."""

    def __init__(self, options: DecodeOptions, device: torch.device, arithmetic: str) -> None:
        model = _model(options.weights, options.pattern, options.codebooks, options.seconds).to(
            device
        )
        trained = options.weights not in ("base", "tiny")
        states = _states(model, options.images, trained).to(device)
        self.options = options
        self.arithmetic = arithmetic
        self.model = model.to(torch.bfloat16) if arithmetic == "bfloat16" else model
        self.text = as_blip_text(self.model)
        self.states = states.to(self.model.dtype)
        if self.model.null_image is None:
            # Guided steps are timed with any weights; a random null image does not change the time.
            self.model.null_image = torch.nn.Parameter(self.states.mean(0))
        self.count = len(states)
        rate = model.config.frame_rate
        self.frames = round(options.seconds * rate)
        self.lengths: dict[str, int] = {}
        if not trained:
            low, high = (int(min(seconds, options.seconds) * rate) for seconds in SECONDS)
            drawn = torch.randint(low, high + 1, (self.count,), generator=torch.manual_seed(1))
            self.lengths = {str(index): int(length) for index, length in enumerate(drawn)}

    def ways(self) -> dict[str, Way]:
        """Returns every method by its name; the first is compared with the others."""
        slots, none = self.options.slots, torch.zeros(self.model.config.num_codebooks, 0).long()
        single, shared = self._engine(1), self._engine(4 if slots % 4 == 0 else 1)
        guided = {
            "engine, codebook 1 guided": self._engine(1, (GUIDANCE,) + (1.0,) * (len(none) - 1)),
            "engine, guided": self._engine(1, GUIDANCE),
        }
        requests = [
            Request(item=str(index), image=index, prompt=none) for index in range(self.count)
        ]
        variants = [
            Request(item=str(index), image=index // 4, prompt=none) for index in range(self.count)
        ]
        # Kernels are compiled before anything is timed.
        self._ours(single, requests[:slots], slots)
        return {
            "eager": self._eagerly,
            "engine": lambda: self._ours(single, requests, self.count),
            "engine, no replacement": lambda: self._ours(single, requests, slots),
            "engine, four share an image": lambda: self._ours(shared, variants, self.count),
        } | {
            way: lambda engine=engine: self._ours(engine, requests, self.count)
            for way, engine in guided.items()
        }

    def _engine(self, lanes: int, guidance: "Each[float]" = 1.0) -> _FixedLengths:
        seconds, slots = self.options.seconds, self.options.slots
        try:
            decoding = Decoding(
                guidance=guidance,
                max_seconds=seconds,
                slots=slots,
                lanes=lanes,
                arithmetic=self.arithmetic,
            )
            engine = _FixedLengths(self.model, decoding)
        except ValueError as error:
            raise UserError(str(error)) from error
        engine.lengths = self.lengths
        return engine

    def _eagerly(self) -> tuple[list[Tensor], int]:
        units: list[Tensor] = []
        steps = 0
        for start in range(0, self.count, self.options.slots):
            end = min(start + self.options.slots, self.count)
            wanted = [self.lengths[str(i)] for i in range(start, end)] if self.lengths else None
            decoded, steps_run = eager_greedy(
                self.model,
                self.text,
                self.states[start:end],
                self.frames,
                lengths=torch.tensor(wanted) if wanted else None,
            )
            units, steps = units + decoded, steps + steps_run
        return units, steps

    def _ours(
        self, engine: Engine, asked: Sequence[Request], group: int
    ) -> tuple[list[Tensor], int]:
        before = engine.steps_run
        generations: list[Generation] = []
        for start in range(0, len(asked), group):
            generations += engine.generate(self.states, asked[start : start + group])
        return [generation.units for generation in generations], engine.steps_run - before


def measure(options: DecodeOptions, report: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Runs every method once a round, in turn, so that a disturbance affects all of them."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    arithmetic = "bfloat16" if device.type == "cuda" else "float32"
    course = _Course(options, device, arithmetic)
    ways = course.ways()
    timings: dict[str, list[tuple[float, int]]] = {way: [] for way in ways}
    units: dict[str, list[Tensor]] = {}
    for round_ in range(options.rounds):
        for number, (way, decode) in enumerate(ways.items()):
            report("decode", round_ * len(ways) + number, options.rounds * len(ways))
            wait(device)
            start = time.perf_counter()
            units[way], steps = decode()
            wait(device)
            timings[way].append((time.perf_counter() - start, steps))
    report("decode", options.rounds * len(ways), options.rounds * len(ways))
    rows = [
        Measured(
            way,
            course.count / statistics.median(seconds for seconds, _ in runs),
            1000 * statistics.median(seconds / steps for seconds, steps in runs),
            runs[0][1],
        )
        for way, runs in timings.items()
    ]
    frames = [speech_units.shape[1] for speech_units in units["engine"]]
    compared = units if arithmetic == "float32" else _units_in_float32(options, device)
    pairs = zip(compared["eager"], compared["engine"], strict=True)
    # A row of n steps has n / 2 positions on average; long rows have more steps.
    average = sum(n * n for n in frames) / max(1, sum(frames)) / 2
    speed = bandwidth(device)
    return {
        "plan": asdict(options),
        "machine": asdict(machine(device)),
        "rows": [asdict(row) for row in rows],
        "speeches": course.count,
        "mean_frames": sum(frames) / course.count,
        "arithmetic": arithmetic,
        # Compared in float32, whatever was timed: in bfloat16 two methods differ after some steps.
        "greedy_units_equal_to_eager": sum(torch.equal(a.cpu(), b.cpu()) for a, b in pairs),
        "bandwidth_gb_per_s": speed / 1e9,
        "floor_ms_per_step": 1000
        * floor_seconds(course.model, options.slots, options.slots, average, speed=speed),
    }


def _units_in_float32(options: DecodeOptions, device: torch.device) -> dict[str, list[Tensor]]:
    ways = _Course(options, device, "float32").ways()
    with precision("float32"):
        return {way: ways[way]()[0] for way in ("eager", "engine")}


def show(result: dict[str, Any]) -> None:
    """Prints the table and the ratios that the project promises."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"decoding {result['plan']['weights']}, {result['plan']['slots']} slots")
    for column in ("way", "images/s", "ms/step", "of the floor", "against eager", "of a step"):
        table.add_column(column, justify="left" if column == "way" else "right")
    eager = result["rows"][0]["rows_per_second"]
    step = next(row["ms_per_step"] for row in result["rows"] if row["way"] == "engine")
    for row in result["rows"]:
        table.add_row(
            row["way"],
            f"{row['rows_per_second']:.2f}",
            f"{row['ms_per_step']:.3f}",
            f"{100 * result['floor_ms_per_step'] / row['ms_per_step']:.0f}%",
            f"{row['rows_per_second'] / eager:.2f}x",
            f"{row['ms_per_step'] / step:.2f}x",
        )
    console = Console(highlight=False)
    console.print(table)
    facts = result["machine"]
    console.print(
        f"{facts['gpu'] or facts['processor']}, {facts['threads']} threads, "
        f"torch {facts['torch']}, transformers {facts['transformers']}"
    )
    console.print(
        f"floor {result['floor_ms_per_step']:.3f} ms/step: bytes of a step over "
        f"{result['bandwidth_gb_per_s']:.1f} GB/s measured here; "
        f"{result['speeches']} speeches of {result['mean_frames']:.0f} frames on average; "
        f"greedy units equal to eager's in float32: {result['greedy_units_equal_to_eager']}; "
        f"timed in {result['arithmetic']}"
    )


def run(options: DecodeOptions, save: Path | None) -> int:
    """Measures, prints, and saves the figures as JSON on request."""
    from bench.common.progress import progress

    with progress() as report:
        result = measure(options, report)
    show(result)
    save_figures(result, save)
    return 0
