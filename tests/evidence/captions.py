"""Simulated systems from people's captions, whose true scores are known: how often intervals
contain them, and how often equal systems are reported to differ.

The whole split is the population. A weak system speaks this image's caption or another's, with
words lost and replaced. It is drawn several times for each image, and systems with different draws
are equal. The floor speaks another image's caption.
"""

import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from bench.common.progress import Progress
from bench.common.resampling import Resampling
from bench.datasets.base import Dataset
from bench.jobs.spec import ScoringSpec
from bench.metrics.counted import Counted
from bench.scoring.families import Compared, adjusted
from bench.scoring.inference import intervals, permuted_differences
from bench.scoring.scorer import Scorer
from bench.systems.borrowing import others

DRAWS = 10
"""The number of draws of the weak system for each image."""
_RIGHT, _LOST, _OTHER = 0.6, 0.175, 0.175
"""The probabilities that it speaks this image's caption, loses a word, and replaces a word."""


@dataclass(frozen=True)
class Population:
    """The metrics' statistics of a split, `[n, D]` each: people, draws of the weak system, the
    floor."""

    people: Counted
    weak: tuple[Counted, ...]
    floor: Counted


def _said(caption: str, other: str, words: Sequence[str], rng: random.Random) -> str:
    spoken = []
    for word in (caption if rng.random() < _RIGHT else other).split():
        chance = rng.random()
        if chance >= _LOST:
            spoken.append(rng.choice(words) if chance < _LOST + _OTHER else word)
    return " ".join(spoken)


def population(dataset: Dataset, report: Progress) -> Population:
    """Computes all of them against the references of the usual protocol."""
    rng = random.Random("captions")
    with (
        tempfile.TemporaryDirectory() as cache,
        Scorer(dataset, ScoringSpec(), {}, Path(cache)) as scorer,
    ):
        names = [item.id for item in dataset.items]
        own = {name: scorer.captions[name][scorer.chosen[name]] for name in names}
        pairs = others(names, 0)
        floor = {name: own[pairs[name]] for name in names}
        words = [word for text in own.values() for word in text.split()]
        weak = []
        for number in range(DRAWS):
            report("counting", number, DRAWS + 2)
            texts = {name: _said(own[name], floor[name], words, rng) for name in names}
            weak.append(scorer.counted(texts))
        return Population(scorer.counted(own), tuple(weak), scorer.counted(floor))


def coverage(
    people: Population, sizes: Sequence[int], trials: int, replicates: int, report: Progress
) -> list[dict[str, object]]:
    """Returns how often intervals of samples of the population contain its score."""
    rng = np.random.default_rng(0)
    systems = {"people": people.people, "weak": people.weak[0], "shuffled": people.floor}
    rows: list[dict[str, object]] = []
    for label, counted in systems.items():
        truth = counted.corpus()
        for size in sizes:
            held = dict.fromkeys(truth, 0)
            for trial in range(trials):
                drawn = counted.values[rng.integers(len(counted), size=size)]
                resampling = Resampling(replicates=replicates, seed=trial)
                estimates = intervals(counted.with_values(drawn), resampling)
                for name, interval in estimates.items():
                    held[name] += interval.low - 1e-9 <= float(truth[name]) <= interval.high + 1e-9
                report(f"coverage, {label}, {size} images", trial + 1, trials)
            shares = {name: round(count / trials, 4) for name, count in held.items()}
            rows.append({"system": label, "images": size, **shares})
    return rows


def false_stars(
    people: Population,
    systems: Sequence[int],
    images: int,
    trials: int,
    replicates: int,
    report: Progress,
) -> list[dict[str, object]]:
    """Returns how often any of several equal systems is reported to differ in any score."""
    rng = np.random.default_rng(1)
    each = np.stack([draw.values for draw in people.weak])
    rows: list[dict[str, object]] = []
    for count in systems:
        hits = 0
        for trial in range(trials):
            chosen = rng.choice(each.shape[1], size=images, replace=False)
            # For every image again, who says what.
            order = rng.permuted(np.tile(np.arange(len(each)), (images, 1)), axis=1)[:, :count].T
            said = [people.people.with_values(each[draws, chosen]) for draws in order]
            resampling = Resampling(replicates=replicates, seed=trial)
            family: dict[tuple[int, int, str], Compared] = {}
            for a, b in combinations(range(count), 2):
                compared = permuted_differences(said[a], said[b], resampling)
                family |= {(a, b, name): test for name, test in compared.items()}
            hits += min(adjusted(family).values()) < 0.05
            report(f"equal systems, {count}", trial + 1, trials)
        rows.append({"systems": count, "images": images, "told apart": round(hits / trials, 4)})
    return rows
