"""The time of scoring many variants at once, compared with stock pycocoevalcap.

Variants are like those of a grid: transcripts of the same images with different wrong words. Both
sides use pycocoevalcap's own tokeniser, and start the JVMs that they need.
"""

import random
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.commands.options import Parser, path, whole
from bench.common.machine import save as save_figures
from bench.common.progress import Progress, progress
from bench.common.yamlfile import parse
from bench.datasets.base import Dataset
from bench.datasets.loading import load_dataset
from bench.datasets.scenes.load import load_scenes
from bench.jobs.spec import Job, ScoringSpec
from bench.metrics.stock import stock_scores
from bench.metrics.tokens import tokenise
from bench.scoring.scorer import Scorer
from tests.evidence.program import program

_KEPT = 0.8
"""The share of a caption's words that a variant keeps."""

Texts = Mapping[str, str]


def variants_of(dataset: Dataset, count: int) -> list[Texts]:
    """Returns captions with a fifth of their words replaced by other words of the split."""
    rng = random.Random("scoring")
    own = {item.id: item.captions[0].text for item in dataset.items}
    words = sorted({word for text in own.values() for word in text.split()})
    return [
        {
            name: " ".join(w if rng.random() < _KEPT else rng.choice(words) for w in text.split())
            for name, text in own.items()
        }
        for _ in range(count)
    ]


def _by_stock(dataset: Dataset, said: Texts) -> dict[str, float]:
    flat = iter(tokenise([c.text for item in dataset.items for c in item.captions]))
    references = {item.id: [next(flat) for _ in item.captions] for item in dataset.items}
    tokens = dict(zip(said, tokenise(list(said.values())), strict=True))
    return stock_scores(references, tokens)


def _by_suite(
    dataset: Dataset, variants: Sequence[Texts], cache: Path
) -> tuple[list[dict[str, float]], float]:
    """Returns every variant's scores, and the seconds until the first metric can count."""
    start = time.perf_counter()
    with Scorer(dataset, ScoringSpec(references="all"), {}, cache) as scorer:
        ready = time.perf_counter() - start
        scores = []
        scorer.tokens([text for said in variants for text in said.values()])
        for said in variants:
            tokens = dict(zip(said, scorer.tokens(list(said.values())), strict=True))
            corpus = scorer.counted(tokens).corpus()
            scores.append({name: float(score) for name, score in corpus.items()})
    return scores, ready


def measure(dataset: Dataset, count: int, report: Progress) -> dict[str, Any]:
    """Scores all variants by both; `off` is the largest difference of any score."""
    variants = variants_of(dataset, count)
    with tempfile.TemporaryDirectory() as name:
        start = time.perf_counter()
        ours, ready = _by_suite(dataset, variants, Path(name))
        seconds = time.perf_counter() - start
        _, again = _by_suite(dataset, variants[:1], Path(name))
    theirs = []
    start = time.perf_counter()
    for number, said in enumerate(variants, 1):
        theirs.append(_by_stock(dataset, said))
        report("stock", number, count)
    stock = time.perf_counter() - start
    off = max(abs(a[name] - b[name]) for a, b in zip(ours, theirs, strict=True) for name in b)
    return {
        "captions": f"{dataset.name} {dataset.split}",
        "images": len(dataset.items),
        "variants": count,
        "seconds": seconds,
        "stock_seconds": stock,
        "faster": stock / seconds,
        "ready_seconds": ready,
        "ready_again_seconds": again,
        "off": off,
    }


def run(job: Path | None, count: int, save: Path | None) -> int:
    """Measures, prints the ratio, and saves the figures if asked."""
    dataset = load_scenes(None) if job is None else load_dataset(parse(job, Job).dataset)
    with progress() as report:
        figures = measure(dataset, count, report)
    print(
        f"{count} variants of {figures['images']} images: {figures['seconds']:.1f} s, stock "
        f"pycocoevalcap {figures['stock_seconds']:.1f} s, {figures['faster']:.1f} times as long; "
        f"no score differs by more than {figures['off']:.0e}"
    )
    print(
        f"ready to count after {figures['ready_seconds']:.1f} s, and with METEOR's table of these "
        f"references there already after {figures['ready_again_seconds']:.1f} s"
    )
    save_figures(figures, save)
    return 0


def main(words: Sequence[str]) -> int:
    """Measures what the command line asks for; the exit code."""
    parser = Parser(
        prog="python -m tests.evidence.scoring",
        description="Many variants, beside stock pycocoevalcap.",
    )
    parser.add_argument("--job", type=path, help="a job whose captions are taken; else scenes")
    parser.add_argument("--variants", type=whole(1, 1000), default=10)
    parser.add_argument("--save", type=path, help="write the figures as JSON")
    given = parser.parse_args(words)
    return run(given.job, given.variants, given.save)


if __name__ == "__main__":
    program(main)
