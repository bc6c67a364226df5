"""Whether the tests have their stated error rates, on data whose truth is known.

Items are simulated with statistics like those of real transcripts (five references, ten words); two
systems share their items' difficulty, like two systems on the same images.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from bench.commands.options import Parser, path, whole
from bench.common.atomic import write_text
from bench.common.progress import progress
from bench.common.resampling import Resampling
from bench.common.yamlfile import parse
from bench.datasets.loading import load_dataset
from bench.datasets.scenes.load import load_scenes
from bench.jobs.spec import Job
from bench.metrics.base import Array
from bench.metrics.bleu import Bleu
from bench.metrics.cider import Cider
from bench.metrics.counted import Counted, joined
from bench.metrics.meteor import Meteor
from bench.metrics.rouge import RougeL
from bench.scoring.inference import compare, intervals
from tests.evidence.captions import coverage, false_stars, population
from tests.evidence.program import program
from tests.evidence.trends import trends

METRICS = (Bleu(), Meteor(), RougeL(), Cider())
LEVEL = 0.05
ITEMS = 1000
LOSS = 2.0
"""Points of the injected regression (see points)."""
_SIZES = (48, 200)
"""Images of which intervals are tried."""
_SYSTEMS = (2, 5, 9)
"""The number of equal systems that are compared at once."""
_TESTS = ("permutation", "bootstrap")
_LONGEST = 14
_QUALITY, _SPREAD = 0.72, 0.6
"""The probability of a correct word, and its variation between images (standard deviation,
logits)."""


@dataclass(frozen=True)
class Said:
    """Which words of every item are correct `[items, 14]`, and the lengths of item and
    reference."""

    right: "np.ndarray[Any, np.dtype[np.bool_]]"
    length: Array
    reference: Array


def said(
    items: int,
    rng: np.random.Generator,
    quality: float = _QUALITY,
    hardness: Array | None = None,
) -> Said:
    """Returns the speech of a system whose words are correct with about this probability.

    `hardness` `[items]` changes the probability item by item; systems with the same values are
    correlated.
    """
    if hardness is None:
        hardness = rng.normal(0, _SPREAD, items)
    chance = 1 / (1 + np.exp(-(np.log(quality / (1 - quality)) + hardness)))
    length = rng.integers(8, _LONGEST, items).astype(np.float64)
    reference = np.maximum(length + rng.integers(-1, 2, items), 4)
    right = rng.random((items, _LONGEST)) < chance[:, None]
    right &= np.arange(_LONGEST) < length[:, None]
    return Said(right, length, reference)


def statistics_of(speech: Said) -> Counted:
    """Returns the metrics' statistics: every run of correct words is an n-gram of the reference."""
    right, length, reference = speech.right, speech.length, speech.reference
    items = len(length)
    bleu = np.zeros((items, 10))
    for n in range(4):
        runs = np.all([right[:, k : _LONGEST - n + k] for k in range(n + 1)], axis=0)
        bleu[:, n], bleu[:, 4 + n] = runs.sum(1), np.maximum(length - n, 0)
    bleu[:, 8], bleu[:, 9] = length, reference
    matched = right.sum(1)
    starts = right & ~np.pad(right, ((0, 0), (1, 0)))[:, :-1]
    meteor = np.zeros((items, 23))
    meteor[:, 0], meteor[:, 1] = length, reference
    meteor[:, 2], meteor[:, 3] = length // 3, reference // 3
    meteor[:, 4] = meteor[:, 5] = matched - matched // 3
    meteor[:, 6] = meteor[:, 7] = matched // 3
    meteor[:, 20], meteor[:, 21], meteor[:, 22] = starts.sum(1), matched, matched
    share, ones = matched / length, np.ones(items)
    means = [np.stack([row, ones], axis=1) for row in (100 * share, 300 * share**2)]
    return joined(METRICS, [bleu, meteor, *means])


def simulated(items: int, quality: float, rng: np.random.Generator) -> Counted:
    """Returns the statistics of a system whose words are correct with about this probability."""
    return statistics_of(said(items, rng, quality))


def damaged(speech: Said, chance: float, rng: np.random.Generator) -> Said:
    """Returns the same system after a change that loses correct words at random."""
    intact = rng.random(speech.right.shape) >= chance
    return Said(speech.right & intact, speech.length, speech.reference)


def _pairs(
    rng: np.random.Generator, items: int, damage: float, worse: float
) -> Iterator[tuple[str, Counted, Counted]]:
    """Two runs of one system; a system and itself, damaged; a system and another, worse one."""
    hardness = rng.normal(0, _SPREAD, items)
    speech = said(items, rng, hardness=hardness)
    first = statistics_of(speech)
    yield "a/a", first, statistics_of(said(items, rng, hardness=hardness))
    yield "two points lost", first, statistics_of(damaged(speech, damage, rng))
    other = said(items, rng, worse, hardness)
    yield "another system, two points worse", first, statistics_of(other)


def points(counted: Counted) -> float:
    """Returns the score in which losses are injected: BLEU of up to four words."""
    return float(counted.corpus()[Bleu.scores[-1].name])


def _points(speech: Said) -> float:
    return points(statistics_of(speech))


def _bisected(score: Callable[[float], float], low: float, high: float, target: float) -> float:
    """Returns where a score that falls (or rises) from `low` to `high` reaches the target."""
    falls = score(low) > score(high)
    for _ in range(20):
        middle = (low + high) / 2
        if (score(middle) > target) == falls:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@lru_cache(maxsize=1)
def losses() -> tuple[float, float]:
    """Returns how much damage, and how much less quality, cost `LOSS` points of BLEU-4."""
    items, rng = 100_000, np.random.default_rng(1)
    hardness = rng.normal(0, _SPREAD, items)
    speech = said(items, np.random.default_rng(2), hardness=hardness)
    target = _points(speech) - LOSS
    damage = _bisected(
        lambda c: _points(damaged(speech, c, np.random.default_rng(3))), 0.0, 0.5, target
    )
    worse = _bisected(
        lambda q: _points(said(items, np.random.default_rng(2), q, hardness)),
        0.3,
        _QUALITY,
        target,
    )
    return damage, worse


def measure(splits: int, items: int, replicates: int) -> dict[str, Any]:
    """Returns rates of rejection without a difference, and with one of two points."""
    rng = np.random.default_rng(0)
    lost = losses()
    rejected: dict[str, dict[str, int]] = {}
    with progress() as report:
        for split in range(splits):
            for name, a, b in _pairs(rng, items, *lost):
                counts = rejected.setdefault(name, {})
                resampling = Resampling(replicates=replicates, seed=split)
                for metric, difference in compare(a, b, resampling).items():
                    for test in _TESTS:
                        hit = getattr(difference, f"p_{test}") < LEVEL
                        key = f"{metric}, {test}"
                        counts[key] = counts.get(key, 0) + hit
            report("statistics", split + 1, splits)
    counted = simulated(items, _QUALITY, rng)
    started = time.perf_counter()
    intervals(counted, Resampling(replicates=10_000))
    seconds = time.perf_counter() - started
    rates = {
        name: {key: count / splits for key, count in difference.items()}
        for name, difference in rejected.items()
    }
    facts = {"splits": splits, "items": items, "replicates": replicates, "level": LEVEL}
    return facts | {"rates": rates, "seconds_for_10000_replicates": seconds}


def run(splits: int, items: int, replicates: int, job: Path | None, save: Path | None) -> int:
    """Measures, prints the rates, and saves them if asked.

    Intervals and families of tests are tried on the captions of a job's dataset, or of scenes.
    """
    from bench.common.machine import save as save_figures
    from bench.report.files import plain_markdown
    from bench.report.terminal import make_console, show_frame

    dataset = load_scenes(None) if job is None else load_dataset(parse(job, Job).dataset)
    with progress() as report:
        people = population(dataset, report)
        sizes = [size for size in _SIZES if size <= len(dataset.items)]
        covered = coverage(people, sizes, 2 * splits, replicates, report)
        stars = false_stars(people, _SYSTEMS, sizes[-1], splits, replicates, report)
        moved = trends(splits, report)
    result = measure(splits, items, replicates)
    result |= {"captions": dataset.name, "images": len(dataset.items)}
    result |= {"coverage": covered, "equal systems": stars, "trends": moved}
    tables = {
        f"How often 95% intervals hold the score, {2 * splits} trials": pl.DataFrame(covered),
        f"How often any of equal systems is told apart, {splits} trials": pl.DataFrame(stars),
        f"How often a trend is said to change, {splits} series of each kind": pl.DataFrame(moved),
        f"How often a test at 5% rejects, {splits} splits of {items} items": pl.DataFrame(
            [
                {"pair": pair, "test": test}
                | {
                    name: rates[f"{name}, {test}"]
                    for name in dict.fromkeys(_metric(r) for r in rates)
                }
                for pair, rates in result["rates"].items()
                for test in _TESTS
            ]
        ),
    }
    console = make_console()
    text = [plain_markdown(_percent(table), title) for title, table in tables.items()]
    for title, table in tables.items():
        show_frame(_percent(table), title, console)
    print(f"10,000 replicates of all metrics: {result['seconds_for_10000_replicates']:.1f} s")
    save_figures(result, save)
    if save is not None:
        write_text(save.with_suffix(".md"), "\n".join(text))
    return 0


def _metric(key: str) -> str:
    return key.rsplit(", ", 1)[0]


def _percent(table: pl.DataFrame) -> pl.DataFrame:
    shares = [name for name, kind in table.schema.items() if kind == pl.Float64]
    return table.with_columns(pl.col(name) * 100 for name in shares)


def main(words: Sequence[str]) -> int:
    """Measures what the command line asks for; the exit code."""
    parser = Parser(
        prog="python -m tests.evidence.rates",
        description="Whether the tests reject as often as they say.",
    )
    parser.add_argument("--splits", type=whole(1, 100_000), default=200)
    parser.add_argument("--items", type=whole(1, 10_000_000), default=1000)
    parser.add_argument("--replicates", type=whole(100, 100_000), default=1000)
    parser.add_argument("--job", type=path, help="a job whose captions are taken; else scenes")
    parser.add_argument("--save", type=path, help="write the figures as JSON")
    given = parser.parse_args(words)
    sizes = (given.splits, given.items, given.replicates)
    return run(*sizes, given.job, given.save)


if __name__ == "__main__":
    program(main)
