"""`pixvox perf gpu`: checks whether the code for GPUs is correct and how fast it is, in one report.

On a machine without a GPU the same checks run on the CPU at a small size, and every line says that
they prove nothing for GPUs. A check that does not fit into the remaining budget is skipped.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from bench.asr.base import SAMPLE_RATE
from bench.asr.whisper import WhisperAsr
from bench.common.atomic import write_text
from bench.common.audio import Wave, read_speech
from bench.common.errors import RunFailed
from bench.common.machine import bandwidth, machine, wait
from bench.common.text import inert_markdown, reason_of
from bench.datasets.scenes.load import load_scenes
from bench.execution.stages import read_pace
from bench.perf.decode import floor_seconds
from pixvox.codec.encodec import Codec
from pixvox.configuration import PixVoxConfig
from pixvox.decoding.engine import Engine
from pixvox.decoding.kernels import AttentionKind
from pixvox.decoding.requests import Generation, Request
from pixvox.decoding.sampling import Decoding
from pixvox.decoding.stepper import Shape, Stepper
from pixvox.images import load_image
from pixvox.modeling import PixVoxLM
from pixvox.patternnames import PATTERN_NAMES
from pixvox.precision import precision
from pixvox.weights import resolve

BUDGET_SECONDS = 480.0
"""The command ends in 8 minutes: a check starts only if its own estimate still fits."""
ZOO = "zoo:pixvox-tiny-delay"
TOLERANCE = 1e-3
"""The largest difference of states and samples, of values around 1, between devices."""
BFLOAT16_TOLERANCE = 0.2
"""The largest difference of bfloat16 logits between attentions, in standard deviations."""

Outcome = Literal["proven", "FAILED", "not proven", "measured", "not measured"]


@dataclass(frozen=True)
class Finding:
    """The result of one check, in words and figures; `holds` is None if it only measures."""

    words: str
    holds: bool | None = None
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Course:
    """The device and the size of the checks; `base` is the paper's model with random weights.

    `seconds` is the longest speech, `arithmetics` are the precisions of decoding, `clips` is the
    number of recordings that are transcribed and `items` the number of images of a whole run.
    """

    device: torch.device
    base: bool
    slots: tuple[int, ...]
    seconds: float
    arithmetics: tuple[str, ...]
    clips: int
    items: int
    training_steps: int

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"


def course_of(device: torch.device) -> Course:
    """Returns the full course for a GPU, the small one for a CPU."""
    if device.type == "cuda":
        return Course(
            device=device,
            base=True,
            slots=(64, 256),
            seconds=6.0,
            arithmetics=("float32", "bfloat16"),
            clips=64,
            items=200,
            training_steps=30,
        )
    return Course(
        device=device,
        base=False,
        slots=(4,),
        seconds=1.0,
        arithmetics=("float32",),
        clips=2,
        items=1,
        training_steps=2,
    )


def _random_model(course: Course, pattern: str, *, base: bool) -> PixVoxLM:
    torch.manual_seed(0)
    if not base:
        return PixVoxLM(PixVoxConfig.tiny(pattern=pattern)).eval().to(course.device)
    config = PixVoxConfig.base(pattern=pattern, num_codebooks=8)
    return PixVoxLM(config).eval().to(course.device)


def _engine(course: Course, model: PixVoxLM, decoding: Decoding, *, graphs: bool = True) -> Engine:
    """Returns the engine as a GPU runs it; without graphs it takes the same steps one at a time."""
    engine = Engine(model, decoding, dense=None if course.on_gpu else True)
    engine.poll = 8
    if course.on_gpu and not graphs:
        engine._replay = engine._advance  # type: ignore[method-assign]
    return engine


def _asked(model: PixVoxLM, count: int, prompt_frames: int = 0) -> tuple[Tensor, list[Request]]:
    """Returns image states of noise and a request for each; every second one has a prompt."""
    config = model.config
    shape = (count, config.image_positions, config.image_state_size)
    states = torch.randn(shape, generator=torch.manual_seed(1)).to(model.device, model.dtype)
    shape_of_prompt = (config.num_codebooks, prompt_frames)
    prompt = torch.randint(0, config.codebook_size, shape_of_prompt, generator=torch.manual_seed(3))
    return states, [
        Request(str(row), row, prompt if row % 2 else prompt[:, :0]) for row in range(count)
    ]


def _equal(speeches: Sequence[Generation], others: Sequence[Generation]) -> int:
    units = {speech.item: speech.units for speech in others}
    return sum(torch.equal(speech.units, units[speech.item]) for speech in speeches)


def check_units(course: Course) -> Finding:
    """Compares greedy units by graphs, single steps, and the CPU's attention, for every pattern."""
    count = 6
    figures: dict[str, Any] = {}
    for pattern in PATTERN_NAMES:
        model = _random_model(course, pattern, base=False)
        decoding = Decoding(max_seconds=1.0, slots=4)
        states, requests = _asked(model, count, prompt_frames=20)
        replayed = _engine(course, model, decoding).generate(states, requests)
        stepped = _engine(course, model, decoding, graphs=False).generate(states, requests)
        on_cpu = Engine(model.to("cpu"), decoding).generate(states.cpu(), requests)
        figures[pattern] = {
            "equal to single steps": _equal(replayed, stepped),
            "equal to the CPU's": _equal(replayed, on_cpu),
        }
    same = sum(row["equal to single steps"] for row in figures.values())
    cpu = sum(row["equal to the CPU's"] for row in figures.values())
    total = count * len(PATTERN_NAMES)
    words = f"{same} of {total} speeches equal single steps, {cpu} the CPU's ragged attention"
    return Finding(words, same == cpu == total, {"speeches": total, "patterns": figures})


def check_company(course: Course) -> Finding:
    """Checks that items have the same units forwards, backwards and in groups."""
    figures = {}
    for arithmetic in course.arithmetics:
        model = _random_model(course, "delay", base=course.base)
        seconds = min(course.seconds, 2.0)
        decoding = Decoding(max_seconds=seconds, slots=8, temperature=0.8, arithmetic=arithmetic)
        states, requests = _asked(model, 12)
        engine = _engine(course, model, decoding)
        together = engine.generate(states, requests)
        backwards = engine.generate(states, requests[::-1])
        groups = [
            generation
            for i in range(0, 12, 5)
            for generation in engine.generate(states, requests[i : i + 5])
        ]
        figures[arithmetic] = [_equal(together, backwards), _equal(together, groups)]
    words = "; ".join(
        f"{name}: {back} of 12 the same backwards, {groups} in groups"
        for name, (back, groups) in figures.items()
    )
    return Finding(words, all(value == [12, 12] for value in figures.values()), figures)


def check_bfloat16(course: Course) -> Finding:
    """Counts the units that bfloat16 changes, up to the first difference in each speech."""
    if not course.on_gpu:
        return Finding("only GPUs decode in bfloat16")
    model = PixVoxLM.from_pretrained(resolve(ZOO)).eval().to(course.device)
    items = load_scenes(None).items[:32]
    with torch.inference_mode(), precision("float32"):
        pixels = [load_image(item.image, model.config.scaling) for item in items]
        states = torch.cat([model.encode_images(image[None].to(course.device)) for image in pixels])
    _, requests = _asked(model, len(items))
    speeches = {
        arithmetic: _engine(course, model, Decoding(slots=32, arithmetic=arithmetic)).generate(
            states, requests
        )
        for arithmetic in ("float32", "bfloat16")
    }
    same = _equal(speeches["float32"], speeches["bfloat16"])
    return Finding(
        f"{same} of {len(items)} greedy speeches have the same units in both",
        figures={"equal": same, "speeches": len(items)},
    )


def check_attention(course: Course) -> Finding:
    """Compares logits in bfloat16 by attention of variable length and by masked attention."""
    model = _random_model(course, "delay", base=False)
    slots, steps = 8, 16
    states, _ = _asked(model, slots)
    units = torch.randint(0, model.config.codebook_size, (steps, slots, model.config.num_codebooks))
    kinds: tuple[AttentionKind, ...] = ("dense", "varlen")
    scores = []
    for attention in kinds:
        shape = Shape(
            slots=slots,
            lanes=1,
            steps=64,
            dtype=torch.bfloat16,
            attention=attention,
            guided=False,
        )
        stepper = Stepper(model, shape)
        position = torch.zeros(slots, dtype=torch.long, device=course.device)
        with torch.inference_mode():
            for entry, image in enumerate(states):
                stepper.remember(entry, image)
            rows = [
                stepper.logits(row.to(course.device), position + step, 64)
                for step, row in enumerate(units)
            ]
        scores.append(torch.stack(rows))
    largest = float((scores[0] - scores[1]).abs().max() / scores[0].std())
    words = f"scores differ by at most {largest:.3f} of their standard deviation"
    return Finding(words, largest < BFLOAT16_TOLERANCE, {"largest difference": largest})


def check_codec(course: Course) -> Finding:
    """Compares samples on the device and on the CPU, alone and in a group; clips a second."""
    rng = torch.manual_seed(2)
    units = [torch.randint(0, 256, (4, frames), generator=rng) for frames in (50, 120, 7, 200)]
    here, cpu = (Codec.load("zoo:encodec-tiny", 1.6, str(d)) for d in (course.device, "cpu"))
    pairs = list(zip(here.decode_all(units), cpu.decode_all(units), strict=True))
    largest = max(float(abs(wave - expected).max()) for wave, expected in pairs)
    alone = all(
        (here.decode(clip) == wave).all() for clip, (wave, _) in zip(units, pairs, strict=True)
    )
    many = [units[3]] * (64 if course.on_gpu else 4)
    seconds = _seconds(course, lambda: here.decode_all(many))
    figures = {"largest difference": largest, "clips a second": len(many) / seconds}
    words = (
        f"samples differ by {largest:.1e} from the CPU's; {'the same' if alone else 'other'} "
        f"samples alone; {figures['clips a second']:.1f} clips of 4 s a second"
    )
    return Finding(words, largest < TOLERANCE and alone, figures)


def check_images(course: Course) -> Finding:
    """Compares image states on the device and on the CPU."""
    model = PixVoxLM.from_pretrained(resolve(ZOO)).eval()
    items = load_scenes(None).items[:4]
    pixels = torch.stack([load_image(item.image, model.config.scaling) for item in items])
    with torch.inference_mode(), precision("float32"):
        on_cpu = model.encode_images(pixels)
        here = model.to(course.device).encode_images(pixels.to(course.device)).cpu()
    largest = float((here - on_cpu).abs().max())
    return Finding(
        f"states differ by {largest:.1e} from the CPU's",
        largest < TOLERANCE * float(on_cpu.abs().max()),
        {"largest difference": largest},
    )


def check_whisper(course: Course) -> Finding:
    """Compares Whisper tiny.en's transcripts of recordings on the device and on the CPU."""
    files = [
        caption.speech
        for item in load_scenes(None).items
        for caption in item.captions
        if caption.speech is not None
    ]
    waves: list[Wave] = [read_speech(path, SAMPLE_RATE) for path in files[: course.clips]]
    asr = WhisperAsr()
    here = asr.transcriber(str(course.device), 1)
    cpu = asr.transcriber("cpu", 1)
    count = min(8, len(waves))
    started = time.perf_counter()
    texts = [
        result.transcript
        for start in range(0, len(waves), 8)
        for result in here.transcribe(waves[start : start + 8])
    ]
    rate = len(waves) / (time.perf_counter() - started)
    wanted = [result.transcript for result in cpu.transcribe(waves[:count])]
    same = sum(a == b for a, b in zip(texts, wanted, strict=False))
    words = f"{same} of {count} transcripts equal the CPU's; {rate:.1f} clips a second"
    return Finding(words, same == count, {"clips a second": rate, "equal": same, "clips": count})


def check_steps(course: Course) -> Finding:
    """Measures the time of a decoding step by slots and type, and its bound by bandwidth."""
    speed = bandwidth(course.device, 512 if course.on_gpu else 128)
    figures: dict[str, Any] = {"copy GB/s": speed / 1e9}
    for arithmetic in course.arithmetics:
        model = _random_model(course, "delay", base=course.base)
        if arithmetic == "bfloat16":
            model = model.to(torch.bfloat16)
        for slots in course.slots:
            decoding = Decoding(max_seconds=course.seconds, slots=slots, arithmetic=arithmetic)
            engine = _engine(course, model, decoding)
            states, requests = _asked(model, slots)
            engine.generate(states, requests)
            if course.on_gpu:
                torch.cuda.reset_peak_memory_stats(course.device)
            before = engine.steps_run
            seconds = _seconds(course, partial(engine.generate, states, requests))
            step = seconds / max(1, engine.steps_run - before)
            positions = model.config.frame_rate * course.seconds / 2
            floor = floor_seconds(model, slots, slots, positions, speed)
            figures[f"{arithmetic}, {slots} slots"] = {
                "ms a step": 1000 * step,
                "floor ms": 1000 * floor,
                "share of the floor": floor / step,
                "peak GB": torch.cuda.max_memory_allocated(course.device) / 1e9
                if course.on_gpu
                else None,
            }
    words = "; ".join(
        f"{name}: {row['ms a step']:.2f} ms a step, {row['share of the floor']:.0%} of the floor"
        for name, row in figures.items()
        if isinstance(row, dict)
    )
    return Finding(words, figures=figures)


def check_profile(course: Course) -> Finding:
    """Returns the operators that take most of a step's time."""
    from torch.profiler import ProfilerActivity, profile

    model = _random_model(course, "delay", base=course.base)
    arithmetic = course.arithmetics[-1]
    decoding = Decoding(max_seconds=0.5, slots=course.slots[0], arithmetic=arithmetic)
    engine = _engine(course, model, decoding, graphs=False)
    states, requests = _asked(model, course.slots[0])
    engine.generate(states, requests)
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * course.on_gpu
    with profile(activities=activities) as recorded:
        engine.generate(states, requests)
    totals = {
        row.key: (row.self_device_time_total if course.on_gpu else row.self_cpu_time_total)
        for row in recorded.key_averages()
    }
    largest = sorted(totals.items(), key=lambda pair: -pair[1])[:8]
    whole = sum(totals.values()) or 1
    shares = {name: value / whole for name, value in largest}
    words = ", ".join(f"{name} {share:.0%}" for name, share in list(shares.items())[:4])
    return Finding(words, figures=shares)


def check_run(course: Course) -> Finding:
    """Measures a whole run: rows a second, and how busy each stage is."""
    job = {
        "name": "gpu",
        "dataset": {"name": "scenes"},
        "limit": course.items,
        "systems": [{"kind": "pixvox", "label": "delay", "weights": ZOO}],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gpu.yaml"
        path.write_text(json.dumps(job))
        command = [sys.executable, "-m", "bench.cli", "run", str(path), "--runs", folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUDGET_SECONDS)
        if done.returncode:
            raise RunFailed(f"the run ended with {done.returncode}: {done.stderr[-300:]}")
        pace = next(filter(None, map(read_pace, Path(folder).glob("*"))), None)
    if pace is None:
        raise RunFailed("the run left no pace.json")
    return Finding(pace.words, figures=asdict(pace))


def check_training(course: Course) -> Finding:
    """Measures captions a second of a training step: forwards, backwards and AdamW."""
    model = _random_model(course, "delay", base=course.base).train()
    batch, config = (60, model.config) if course.on_gpu else (4, model.config)
    frames = round(3 * config.frame_rate)
    units = torch.randint(0, config.codebook_size, (batch, config.num_codebooks, frames))
    units, lengths = units.to(course.device), torch.full((batch,), frames, device=course.device)
    states, _ = _asked(model, batch)
    trained = [p for name, p in model.named_parameters() if not name.startswith("vision.")]
    optimiser = torch.optim.AdamW(trained, lr=5e-5)
    losses = []

    def steps() -> None:
        for _ in range(course.training_steps):
            with torch.autocast(course.device.type, torch.bfloat16):
                loss = model(units, lengths, image_states=states).loss
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            losses.append(loss.detach())

    rate = batch * course.training_steps / _seconds(course, steps)
    first, last = float(losses[0]), float(losses[-1])
    words = f"{rate:.1f} captions of 3 s a second; loss from {first:.3f} to {last:.3f} on one batch"
    return Finding(words, figures={"captions a second": rate, "losses": [first, last]})


def _seconds(course: Course, work: Callable[[], object]) -> float:
    wait(course.device)
    started = time.perf_counter()
    work()
    wait(course.device)
    return time.perf_counter() - started


@dataclass(frozen=True)
class Check:
    """A check by its title; `seconds` is the longest time on the device it is for."""

    title: str
    run: Callable[[Course], Finding]
    seconds: float


CHECKS = (
    Check("greedy units, every pattern, float32", check_units, 40),
    Check("units do not depend on the batch", check_company, 40),
    Check("codec", check_codec, 20),
    Check("image encoder", check_images, 10),
    Check("Whisper tiny.en", check_whisper, 40),
    Check("attention of variable length, bfloat16", check_attention, 20),
    Check("bfloat16 beside float32", check_bfloat16, 30),
    Check("decoding steps", check_steps, 90),
    Check("operators of a step", check_profile, 30),
    Check("training steps", check_training, 40),
    Check("a whole run", check_run, 120),
)
"""The most important checks first, because the budget may end."""


def measure(course: Course, report: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Runs the checks within the budget, and returns the result of each."""
    started = time.perf_counter()
    rows = []
    for number, check in enumerate(CHECKS):
        report(check.title, number, len(CHECKS))
        begun = time.perf_counter()
        if begun - started + check.seconds > BUDGET_SECONDS:
            finding, outcome = Finding("no time was left"), "not measured"
        else:
            finding, outcome = _outcome(check, course)
        row = {"check": check.title, "result": outcome, "seconds": time.perf_counter() - begun}
        rows.append(row | asdict(finding))
    report("done", len(CHECKS), len(CHECKS))
    return {
        "machine": asdict(machine(course.device)),
        "on_gpu": course.on_gpu,
        "seconds": time.perf_counter() - started,
        "checks": rows,
    }


def _outcome(check: Check, course: Course) -> tuple[Finding, Outcome]:
    try:
        finding = check.run(course)
    except Exception as error:
        # Any exception of a device is the result of its check; the other checks still run.
        return Finding(reason_of(error), False), "FAILED"
    if finding.holds is False:
        return finding, "FAILED"
    if not course.on_gpu:
        return finding, "not proven"
    return finding, "measured" if finding.holds is None else "proven"


def markdown(result: dict[str, Any]) -> str:
    """Returns the report in Markdown."""
    facts = result["machine"]
    lines = [
        "# What was proven on a GPU",
        "",
        f"`pixvox perf gpu` on {facts['gpu'] or facts['processor']}, torch {facts['torch']}, "
        f"{result['seconds']:.0f} s.",
        "",
    ]
    if not result["on_gpu"]:
        lines += [
            "There is no GPU here. The checks ran small on the CPU, through the code that a GPU "
            "runs where that is possible, and prove nothing of a GPU.",
            "",
        ]
    lines += ["| check | result | what was seen |", "|---|---|---|"]
    for row in result["checks"]:
        lines.append(f"| {row['check']} | {row['result']} | {inert_markdown(row['words'])} |")
    return "\n".join(lines) + "\n"


def run(save: Path | None) -> int:
    """Runs all checks and prints the report; with `save`, writes it as JSON and Markdown.

    Returns 3 if a check failed, else 0.
    """
    from bench.common.progress import progress

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with progress() as report:
        result = measure(course_of(device), report)
    page = markdown(result)
    print(page)
    if save is not None:
        write_text(save, json.dumps(result, indent=1) + "\n")
        write_text(save.with_suffix(".md"), page)
    return 3 if any(row["result"] == "FAILED" for row in result["checks"]) else 0
