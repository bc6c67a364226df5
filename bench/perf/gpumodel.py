"""Checks of the model and its codec on a GPU, which need no package of the suite alone."""

import importlib.resources
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.common.machine import bandwidth
from bench.perf.decode import floor_seconds
from bench.perf.gpucourse import (
    ZOO,
    Course,
    Finding,
    ask,
    count_equal,
    new_engine,
    random_model,
    seconds_of,
)
from pixvox.codec.encodec import Codec
from pixvox.decoding.engine import Engine
from pixvox.decoding.kernels import AttentionKind
from pixvox.decoding.sampling import Decoding
from pixvox.decoding.stepper import Shape, Stepper
from pixvox.images import load_image
from pixvox.modeling import PixVoxLM
from pixvox.patternnames import PATTERN_NAMES
from pixvox.precision import precision
from pixvox.vision import ImageScaling
from pixvox.weights import resolve

TOLERANCE = 1e-3
"""The largest difference of states and samples, of values around 1, between devices."""
BFLOAT16_TOLERANCE = 0.2
"""The largest difference of scores in bfloat16 between kinds of attention, in their deviations."""


def _pictures(count: int, scaling: ImageScaling) -> list[Tensor]:
    """The first pictures of the shipped scenes, `[3, size, size]` each."""
    folder = Path(str(importlib.resources.files("bench.datasets.scenes") / "test" / "images"))
    return [load_image(file, scaling) for file in sorted(folder.iterdir())[:count]]


def check_units(course: Course) -> Finding:
    """Greedy units by graphs, step by step, and by the CPU's own attention, for every pattern."""
    count = 6
    figures: dict[str, Any] = {}
    for pattern in PATTERN_NAMES:
        model = random_model(course, pattern, base=False)
        decoding = Decoding(max_seconds=1.0, slots=4)
        states, requests = ask(model, count, prompt_frames=20)
        replayed = new_engine(course, model, decoding).generate(states, requests)
        stepped = new_engine(course, model, decoding, graphs=False).generate(states, requests)
        on_cpu = Engine(model.to("cpu"), decoding).generate(states.cpu(), requests)
        figures[pattern] = {
            "equal to single steps": count_equal(replayed, stepped),
            "equal to the CPU's": count_equal(replayed, on_cpu),
        }
    same = sum(row["equal to single steps"] for row in figures.values())
    cpu = sum(row["equal to the CPU's"] for row in figures.values())
    total = count * len(PATTERN_NAMES)
    words = f"{same} of {total} speeches equal single steps, {cpu} the CPU's ragged attention"
    return Finding(words, same == cpu == total, {"speeches": total, "patterns": figures})


def check_company(course: Course) -> Finding:
    """The same items forwards, backwards and in groups have the same units."""
    figures = {}
    for arithmetic in course.arithmetics:
        model = random_model(course, "delay", base=course.base)
        seconds = min(course.seconds, 2.0)
        decoding = Decoding(max_seconds=seconds, slots=8, temperature=0.8, arithmetic=arithmetic)
        states, requests = ask(model, 12)
        engine = new_engine(course, model, decoding)
        together = engine.generate(states, requests)
        backwards = engine.generate(states, requests[::-1])
        groups = [
            generation
            for i in range(0, 12, 5)
            for generation in engine.generate(states, requests[i : i + 5])
        ]
        figures[arithmetic] = [count_equal(together, backwards), count_equal(together, groups)]
    words = "; ".join(
        f"{name}: {back} of 12 the same backwards, {groups} in groups"
        for name, (back, groups) in figures.items()
    )
    return Finding(words, all(value == [12, 12] for value in figures.values()), figures)


def check_bfloat16(course: Course) -> Finding:
    """How many units bfloat16 changes beside float32, up to the first that differs in a speech."""
    if not course.on_gpu:
        return Finding("bfloat16 is decoded on GPUs alone")
    model = PixVoxLM.from_pretrained(resolve(ZOO)).eval().to(course.device)
    pixels = _pictures(32, model.config.scaling)
    with torch.inference_mode(), precision("float32"):
        states = torch.cat([model.encode_images(image[None].to(course.device)) for image in pixels])
    _, requests = ask(model, len(pixels))
    speeches = {
        arithmetic: new_engine(course, model, Decoding(slots=32, arithmetic=arithmetic)).generate(
            states, requests
        )
        for arithmetic in ("float32", "bfloat16")
    }
    same = count_equal(speeches["float32"], speeches["bfloat16"])
    return Finding(
        f"{same} of {len(pixels)} greedy speeches have the same units in both",
        figures={"equal": same, "speeches": len(pixels)},
    )


def check_attention(course: Course) -> Finding:
    """Scores in bfloat16 by attention of variable length beside masked attention."""
    model = random_model(course, "delay", base=False)
    slots, steps = 8, 16
    states, _ = ask(model, slots)
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
    """Samples of units on the device beside the CPU's, alone and together; clips a second."""
    rng = torch.manual_seed(2)
    units = [torch.randint(0, 256, (4, frames), generator=rng) for frames in (50, 120, 7, 200)]
    here, cpu = (Codec.load("zoo:encodec-tiny", 1.6, str(d)) for d in (course.device, "cpu"))
    pairs = list(zip(here.decode_all(units), cpu.decode_all(units), strict=True))
    largest = max(float(abs(wave - expected).max()) for wave, expected in pairs)
    alone = all(
        (here.decode(clip) == wave).all() for clip, (wave, _) in zip(units, pairs, strict=True)
    )
    rates = {
        count: count / seconds_of(course, partial(here.decode_all, [units[3]] * count))
        for count in course.at_once
    }
    listed = ", ".join(f"{count} at once {rate:.1f}" for count, rate in rates.items())
    words = (
        f"samples differ by {largest:.1e} from the CPU's; {'the same' if alone else 'other'} "
        f"samples alone; clips of 4 s a second: {listed}"
    )
    figures = {"largest difference": largest, "clips a second": rates}
    return Finding(words, largest < TOLERANCE and alone, figures)


def check_images(course: Course) -> Finding:
    """Image states on the device beside the CPU's."""
    model = PixVoxLM.from_pretrained(resolve(ZOO)).eval()
    pixels = torch.stack(_pictures(4, model.config.scaling))
    with torch.inference_mode(), precision("float32"):
        on_cpu = model.encode_images(pixels)
        here = model.to(course.device).encode_images(pixels.to(course.device)).cpu()
    largest = float((here - on_cpu).abs().max())
    return Finding(
        f"states differ by {largest:.1e} from the CPU's",
        largest < TOLERANCE * float(on_cpu.abs().max()),
        {"largest difference": largest},
    )


def check_steps(course: Course) -> Finding:
    """Time of a decoding step by slots and type, beside the floor of this machine's copy speed."""
    speed = bandwidth(course.device, 512 if course.on_gpu else 128)
    figures: dict[str, Any] = {"copy GB/s": speed / 1e9}
    for arithmetic in course.arithmetics:
        model = random_model(course, "delay", base=course.base)
        if arithmetic == "bfloat16":
            model = model.to(torch.bfloat16)
        for slots in course.slots:
            decoding = Decoding(max_seconds=course.seconds, slots=slots, arithmetic=arithmetic)
            engine = new_engine(course, model, decoding)
            states, requests = ask(model, slots)
            engine.generate(states, requests)
            if course.on_gpu:
                torch.cuda.reset_peak_memory_stats(course.device)
            before = engine.steps_run
            seconds = seconds_of(course, partial(engine.generate, states, requests))
            step = seconds / max(1, engine.steps_run - before)
            positions = model.config.frame_rate * course.seconds / 2
            floor = floor_seconds(model, slots, slots, positions, speed=speed)
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
    """The operators that take most of a step."""
    from torch.profiler import ProfilerActivity, profile

    model = random_model(course, "delay", base=course.base)
    arithmetic = course.arithmetics[-1]
    decoding = Decoding(max_seconds=0.5, slots=course.slots[0], arithmetic=arithmetic)
    engine = new_engine(course, model, decoding, graphs=False)
    states, requests = ask(model, course.slots[0])
    engine.generate(states, requests)
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * course.on_gpu
    with profile(activities=activities) as recorded:
        engine.generate(states, requests)
    # A kernel has a row of its own beside that of the operator that started it.
    totals = {
        row.key: (row.self_device_time_total if course.on_gpu else row.self_cpu_time_total)
        for row in recorded.key_averages()
        if row.device_type.name == "CPU"
    }
    largest = sorted(totals.items(), key=lambda pair: -pair[1])[:8]
    whole = sum(totals.values()) or 1
    shares = {name: value / whole for name, value in largest}
    words = ", ".join(f"{name} {share:.0%}" for name, share in list(shares.items())[:4])
    return Finding(words, figures=shares)


def check_training(course: Course) -> Finding:
    """Captions a second of a training step: forwards, backwards and AdamW."""
    model = random_model(course, "delay", base=course.base).train()
    batch, config = (60, model.config) if course.on_gpu else (4, model.config)
    frames = round(3 * config.frame_rate)
    units = torch.randint(0, config.codebook_size, (batch, config.num_codebooks, frames))
    units, lengths = units.to(course.device), torch.full((batch,), frames, device=course.device)
    states, _ = ask(model, batch)
    trained = [p for name, p in model.named_parameters() if not name.startswith("vision.")]
    optimiser = torch.optim.AdamW(trained, lr=5e-5)
    losses = []

    def steps(count: int) -> None:
        for _ in range(count):
            with torch.autocast(course.device.type, torch.bfloat16):
                loss = model(units, lengths, image_states=states).loss
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            losses.append(loss.detach())

    # The first step chooses kernels.
    steps(1)
    count = course.training_steps
    rate = batch * count / seconds_of(course, partial(steps, count))
    first, last = float(losses[0]), float(losses[-1])
    words = f"{rate:.1f} captions of 3 s a second; loss from {first:.3f} to {last:.3f} on one batch"
    return Finding(words, figures={"captions a second": rate, "losses": [first, last]})
