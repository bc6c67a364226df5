"""The uncertainty of a score on a number of images, at every level of the score.

Papers print scores without intervals. Systems built from people's captions, from another image's to
a copied reference, give for every metric the half of the interval at each score.
"""

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.commands.options import Parser, path
from bench.common.machine import save as save_figures
from bench.common.progress import progress
from bench.common.resampling import Resampling
from bench.common.yamlfile import parse
from bench.datasets.loading import load_dataset
from bench.jobs.spec import Job, ScoringSpec
from bench.metrics.counted import Counted
from bench.scoring.inference import intervals
from bench.scoring.scorer import Scorer
from bench.systems.borrowing import others
from tests.evidence.program import program

LEVELS = 13
_WRONG = 0.35
"""The share of words that the worst system loses or replaces."""


def _says(level: float, own: str, other: str, reference: str, rng: random.Random) -> str:
    """From another image's caption with wrong words (0) over its own (1) to a reference (2)."""
    if level >= 1:
        return reference if rng.random() < level - 1 else own
    words = (own if rng.random() < level else other).split()
    remaining = [word for word in words if rng.random() >= _WRONG * (1 - level)]
    return " ".join(remaining)


def _systems(scorer: Scorer) -> list[Counted]:
    rng = random.Random("published")
    names = list(scorer.references)
    own = {name: scorer.captions[name][scorer.chosen[name]] for name in names}
    partners = others(names, 0)
    texts = []
    with progress() as report:
        for number in range(LEVELS):
            level = 2 * number / (LEVELS - 1)
            said = {
                n: _says(level, own[n], own[partners[n]], rng.choice(scorer.references[n]), rng)
                for n in names
            }
            texts.append(scorer.counted(said))
            report("levels", number + 1, LEVELS)
    return texts


def run(job: Path, save: Path) -> int:
    """Measures on a job's dataset, and writes the halves of intervals."""
    dataset = load_dataset(parse(job, Job).dataset)
    with (
        tempfile.TemporaryDirectory() as cache,
        Scorer(dataset, ScoringSpec(), {}, Path(cache)) as scorer,
    ):
        systems = _systems(scorer)
    halves: dict[str, list[list[float]]] = {}
    for counted in systems:
        for score, interval in zip(
            counted.scores, intervals(counted, Resampling()).values(), strict=True
        ):
            half = (interval.high - interval.low) / 2
            halves.setdefault(score.head, []).append([round(interval.score, 3), round(half, 3)])
    for pairs in halves.values():
        pairs.sort()
    for head, pairs in halves.items():
        print(f"{head}: " + ", ".join(f"{score:.1f} ± {half:.1f}" for score, half in pairs))
    facts = {"captions": dataset.name, "images": len(dataset.items), "digest": dataset.digest}
    save_figures(facts | {"halves": halves}, save)
    return 0


def main(words: Sequence[str]) -> int:
    """Measures what the command line asks for; the exit code."""
    parser = Parser(
        prog="python -m tests.evidence.published",
        description="Intervals that published scores imply.",
    )
    parser.add_argument("job", type=path, help="whose dataset is taken, such as Flickr8k")
    parser.add_argument("--save", type=path, default=Path("results/baselines/noise.json"))
    given = parser.parse_args(words)
    return run(given.job, given.save)


if __name__ == "__main__":
    program(main)
