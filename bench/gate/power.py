"""What a gate can detect and pass, from its golden's own variance, before anything runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import polars as pl

from bench.common.text import plural
from bench.gate.boundaries import boundaries
from bench.gate.composite import Ruler, ruler
from bench.gate.golden import Golden
from bench.gate.protocol import groups
from bench.gate.verdicts import ALARM, GUARDED, Rule
from bench.metrics.base import SHORT, CorpusMetric
from bench.metrics.counted import Counted

LUCK = 2.5
"""A golden's scores may be this many standard errors above their true values; for 99.4% of goldens
they are less. Without this allowance, a lucky golden raises false alarms in every gate that it
judges."""
POWER = 0.8
"""The probability with which a certificate's loss is detected, and an equal version passes."""
FEWEST = 24
"""With fewer items intervals are not reliable, unless nothing differs."""
_NORMAL = NormalDist()


@dataclass(frozen=True)
class Measured:
    """A golden's runs of one cell, all seeds, and the scale for other runs."""

    cells: list[str]
    images: int
    counted: Counted
    measure: Ruler

    def scores(self) -> dict[str, float]:
        """Returns the golden's scores that are gated."""
        corpus = self.counted.corpus()
        return {name: float(corpus[name]) for name in self.measure.points}

    def margin(self, share: float) -> float:
        """Returns this share of the gated scores in units of the composite."""
        parts = [share * score / self.measure.points[n] for n, score in self.scores().items()]
        return float(np.mean(parts)) if parts else 0.0

    def errors(self, images: int, seeds: int) -> tuple[float, float]:
        """Returns the standard errors of a run with this many seeds and of the golden."""
        each = self.measure.noise / np.sqrt(images)
        return float(each / np.sqrt(seeds)), float(each / np.sqrt(len(self.cells)))

    def findable(self, images: int, seeds: int, rule: Rule) -> float:
        """Returns the loss that is detected with POWER by the last analysis, in units."""
        error, golden_error = self.errors(images, seeds)
        beyond = boundaries(rule.shares, ALARM / rule.groups)[-1] * error + LUCK * golden_error
        return beyond + _NORMAL.inv_cdf(POWER) * float(np.hypot(error, golden_error))

    def passable(self, images: int, seeds: int) -> float:
        """Returns the margin with which an equal version passes with POWER, in units."""
        sure = _NORMAL.inv_cdf(1 - ALARM - GUARDED) + _NORMAL.inv_cdf(POWER)
        return sure * float(np.hypot(*self.errors(images, seeds)))


def measured(golden: Golden, cells: list[str], known: Sequence[CorpusMetric]) -> Measured:
    """Returns a golden's runs of cells that differ only in their seed."""
    items = golden.cell(cells[0], _all(golden, cells[0]))["item"].to_list()
    counted = stacked(golden, cells, items, known)
    names = [
        score.name for score in counted.scores if score.display_priority >= SHORT and score.ranked
    ]
    return Measured(cells, len(items), counted, ruler(counted, len(items), names))


def _all(golden: Golden, cell: str) -> list[str]:
    items: list[str] = golden.rows.filter(cell=cell)["item"].to_list()
    return items


def stacked(
    golden: Golden, cells: Sequence[str], items: Sequence[str], known: Sequence[CorpusMetric]
) -> Counted:
    """Returns the statistics of the items, seed by seed."""
    each = [golden.counted(golden.cell(cell, items), cell, known) for cell in cells]
    return each[0].with_values(np.concatenate([counted.values for counted in each]))


def in_points(measure: Ruler, units: float) -> str:
    """Returns units of the composite as points of every gated score, if all fall alike."""
    return ", ".join(f"{name} {units * points:.2f}" for name, points in measure.points.items())


@dataclass(frozen=True)
class Certificate:
    """What a gate can detect and pass, from its golden alone: sentences, and a row for each cell.

    A row is a group of cells that differ only in their seed. The table's cells are "detected /
    allowed", in points of a score: the loss that is REGRESSED with POWER, and the largest that a
    PASS may hide, if all scores fall alike.
    """

    sentences: tuple[str, ...]
    table: pl.DataFrame


def certificate(
    golden: Golden, cells: Sequence[str], items: int, rule: Rule, *, known: Sequence[CorpusMetric]
) -> Certificate:
    """Returns the certificate of a gate that judges these cells on this many items each."""
    losses, runs, unsure = [], set(), 0
    grouped = groups(cells)
    for group, seeds in grouped.items():
        base = measured(golden, groups(list(golden.signatures))[group], known)
        allowed = base.passable(items, len(seeds))
        margin = allowed if rule.share is None else base.margin(rule.share)
        findable = base.findable(items, len(seeds), rule)
        losses.append(
            {
                name: f"{findable * points:.1f} / {margin * points:.1f}"
                for name, points in base.measure.points.items()
            }
        )
        runs.add(f"{plural(len(seeds), 'seed')}, the golden has {plural(len(base.cells), 'seed')}")
        unsure += margin < allowed
    names, ending = _without_ending(list(grouped))
    table = pl.DataFrame(
        [{"cell": name, **points} for name, points in zip(names, losses, strict=True)]
    )
    sentences = [
        f"The gate judges {plural(items, 'item')} a cell{ending}: {' or '.join(sorted(runs))}. "
        f"At most {ALARM + GUARDED:.0%} of equal versions are REGRESSED.",
        "First number: the loss, in points of all scores at once, that is REGRESSED with a "
        f"probability of {POWER:.0%}. Second number: the largest loss that PASS allows.",
        f"An equal version passes with a probability of {POWER:.0%}{_only(unsure, len(grouped))}.",
    ]
    if items < FEWEST:
        sentences.append(f"Below {FEWEST} items only the same outputs pass.")
    return Certificate(tuple(sentences), table)


def _only(unsure: int, count: int) -> str:
    """Returns for how many cells a sentence does not hold with the user's margin."""
    if not unsure:
        return ""
    return f", in {unsure} of {plural(count, 'cell')} only with more seeds or a wider margin"


def _without_ending(names: Sequence[str]) -> tuple[list[str], str]:
    """Returns the names of cells without the parts at the end that all share, and these parts."""
    parts = [name.split(", ") for name in names]
    shared = 0
    while (
        len(names) > 1
        and min(map(len, parts)) > shared + 1
        and len({name[-shared - 1] for name in parts}) == 1
    ):
        shared += 1
    if not shared:
        return list(names), ""
    return [", ".join(name[:-shared]) for name in parts], f" ({', '.join(parts[0][-shared:])})"
