"""Tests that units do not depend on the batch, and counts what other slots change.

The same items alone, backwards and in other company must give the same units, bit for bit.
Another number of slots rounds differently: how many items it changes is measured, and what
that does to the scores (units are decoded, transcribed and scored as in a run).
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.commands.options import Parser, number, path, weights, whole
from bench.common.errors import UserError, bad_input
from bench.common.machine import machine
from bench.common.machine import save as save_figures
from bench.metrics.base import ALWAYS
from bench.metrics.shipped import METRICS, scores_of
from pixvox.decoding.engine import Engine
from pixvox.decoding.requests import Generation, Request
from pixvox.decoding.sampling import Decoding
from pixvox.modeling import PixVoxLM
from pixvox.weights import resolve
from tests.evidence.program import program

_METRICS = tuple(m for m in METRICS if any(score.display_priority == ALWAYS for score in m.scores))
"""The metrics whose scores every table shows."""


@dataclass(frozen=True)
class InvarianceOptions:
    """The settings of a measurement on the shipped test pictures."""

    weights: str
    slots: int
    images: int
    seconds: float
    temperature: float
    guidance: float
    candidates: int
    arithmetic: str = "float32"


def _changed(before: dict[str, Generation], after: dict[str, Generation]) -> int:
    return sum(not torch.equal(before[item].units, after[item].units) for item in before)


def measure(options: InvarianceOptions, report: Callable[[str, int, int], None]) -> dict[str, Any]:
    """Decodes the same items in several orders, groups and slot counts, and compares."""
    from bench.datasets.scenes.load import load_scenes
    from pixvox.images import load_image

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = (
        PixVoxLM.from_pretrained(resolve(options.weights), dtype=torch.float32).eval().to(device)
    )
    data = load_scenes()
    items = data.items[: options.images]
    scaling = model.config.scaling
    with torch.inference_mode():
        states = torch.cat(
            [model.encode_images(load_image(i.image, scaling)[None].to(device)) for i in items]
        )
    none = torch.zeros(model.config.num_codebooks, 0, dtype=torch.long)
    requests = [
        Request(item=item.id, image=number, prompt=none) for number, item in enumerate(items)
    ]

    def generate(slots: int, groups: list[list[Request]]) -> dict[str, Generation]:
        try:
            decoding = Decoding(
                temperature=options.temperature,
                guidance=options.guidance,
                candidates=options.candidates,
                max_seconds=options.seconds,
                slots=slots,
                arithmetic=options.arithmetic,
            )
            engine = Engine(model, decoding)
        except ValueError as error:
            raise UserError(str(error)) from error
        return {
            generation.item: generation
            for group in groups
            for generation in engine.generate(states, group)
        }

    whole = generate(options.slots, [requests])
    companies = {
        "backwards": [requests[::-1]],
        "in groups of 7": [requests[i : i + 7] for i in range(0, len(requests), 7)],
        "by two replicas": [requests[::2], requests[1::2]],
    }
    counts = (1, max(1, options.slots // 4), options.slots * 2)
    total = len(companies) + len(counts)
    company: dict[str, int] = {}
    for name, groups in companies.items():
        report("invariance", len(company), total)
        company[name] = _changed(whole, generate(options.slots, groups))
    slots: dict[str, dict[str, Any]] = {}
    speeches = {str(options.slots): whole}
    for slot_count in counts:
        report("invariance", len(company) + len(slots), total)
        other = generate(slot_count, [requests])
        speeches[str(slot_count)] = other
        slots[str(slot_count)] = {"changed": _changed(whole, other)}
    report("invariance", total, total)
    scores = {name: _scores(model, data, generations) for name, generations in speeches.items()}
    for name in slots:
        slots[name]["scores"] = scores[name]
    return {
        "plan": asdict(options),
        "machine": asdict(machine(device)),
        "items": len(items),
        "company": company,
        "scores": scores[str(options.slots)],
        "slots": slots,
    }


def _scores(model: PixVoxLM, data: Any, generations: dict[str, Generation]) -> dict[str, float]:
    """Returns BLEU-4 and CIDEr of the speeches as transcribed by Whisper."""
    from bench.asr.base import SAMPLE_RATE
    from bench.asr.whisper import WhisperAsr
    from bench.common.audio import resample
    from bench.metrics.counted import joined
    from bench.metrics.tokens import tokenise
    from pixvox.codec.encodec import Codec

    codec = Codec.load(model.config.codec, model.config.bandwidth)
    transcriber = WhisperAsr().transcriber("cpu", 1)
    # A speech of no frames is silence, and transcribed as nothing.
    names = [name for name in generations if generations[name].units.shape[1]]
    texts = dict.fromkeys(generations, "")
    for start in range(0, len(names), 8):
        group = names[start : start + 8]
        waves = [_speech(codec, generations[name].units, resample, SAMPLE_RATE) for name in group]
        for name, transcribed in zip(group, transcriber.transcribe(waves), strict=True):
            texts[name] = transcribed.transcript
    hypotheses = dict(zip(texts, tokenise(list(texts.values())), strict=True))
    wanted = {name: data.references[name] for name in texts}
    references = {name: tokenise(list(captions)) for name, captions in wanted.items()}
    counted = joined(_METRICS, [metric.statistics(hypotheses, references) for metric in _METRICS])
    return {name: float(score) for name, score in counted.corpus().items()}


def _speech(codec: Any, units: Tensor, resample: Any, rate: int) -> Any:
    return resample(codec.decode(units), codec.sample_rate, rate)


def show(result: dict[str, Any]) -> None:
    """Prints how many items each order, grouping and slot count changed."""
    from rich.console import Console
    from rich.table import Table

    options, items = result["plan"], result["items"]
    table = Table(
        title=f"{options['weights']} at temperature {options['temperature']:g}, guidance "
        f"{options['guidance']:g}, best of {options['candidates']}, {options['arithmetic']}, "
        f"against all {items} items in {options['slots']} slots"
    )
    shown = [s.name for s in scores_of(_METRICS) if s.display_priority == ALWAYS]
    for column in ("change", "items changed", *shown):
        table.add_column(column, justify="left" if column == "change" else "right")
    scores = result["scores"]
    table.add_row("none", "", *(f"{scores[name]:.2f}" for name in shown))
    for name, changed in result["company"].items():
        table.add_row(name, f"{changed} of {items}", *("" for _ in shown))
    for name, row in result["slots"].items():
        moved = [f"{row['scores'][k] - scores[k]:+.2f}" for k in shown]
        table.add_row(f"{name} slots", f"{row['changed']} of {items}", *moved)
    console = Console(highlight=False)
    console.print(table)
    facts = result["machine"]
    console.print(f"{facts['processor']}, {facts['threads']} threads, torch {facts['torch']}")


def run(options: InvarianceOptions, save: Path | None) -> int:
    """Measures and prints; returns 3 if the order or grouping changed any unit."""
    from bench.common.progress import progress

    with progress() as report:
        result = measure(options, report)
    show(result)
    save_figures(result, save)
    return 3 if any(result["company"].values()) else 0


def main(words: Sequence[str]) -> int:
    """Measures what the command line asks for; returns the exit code."""
    parser = Parser(
        prog="python -m tests.evidence.invariance", description="What another slot count changes."
    )
    parser.add_argument("--weights", type=weights, default="zoo:pixvox-tiny-delay")
    parser.add_argument("--slots", type=whole(1, 4096), default=32)
    parser.add_argument("--images", type=whole(1, 1_000_000), default=200)
    parser.add_argument("--seconds", type=number(0.1, 30), default=6.0, help="the longest speech")
    parser.add_argument("--temperature", type=number(0, 100), default=0.5)
    parser.add_argument("--guidance", type=number(0, 100), default=1.0)
    parser.add_argument("--candidates", type=whole(1, 1000), default=1)
    parser.add_argument(
        "--arithmetic",
        choices=("float32", "bfloat16"),
        default="float32",
        help="bfloat16 needs a GPU",
    )
    parser.add_argument("--save", type=path, help="write the figures as JSON")
    given = vars(parser.parse_args(words))
    save = given.pop("save")
    with bad_input():
        return run(InvarianceOptions(**given), save)


if __name__ == "__main__":
    program(main)
