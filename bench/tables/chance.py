"""Tests whether a system uses the pictures: its transcripts against the same ones of other images.

A system that was trained on other data may score by words alone. Its own transcripts, each assigned
to another image, have the same words and score at the level of chance. Scores above it, by paired
permutation tests adjusted for all these systems and scores, come from the pictures.
"""

from collections.abc import Sequence

import numpy as np

from bench.metrics.base import is_of_words
from bench.metrics.counted import Counted
from bench.scoring.families import Compared, adjusted
from bench.scoring.inference import permuted_differences
from bench.scoring.scorer import Scorer
from bench.systems.borrowing import others
from bench.tables.pooling import Row, elsewhere, ranked
from bench.tables.testing import SIGNIFICANT

AboveChance = dict[str, tuple[str, ...]]
"""A row's first cell's name → the scores in which it is above the chance level."""


def scores_above_chance(rows: Sequence[Row], dataset: str, scorer: Scorer) -> AboveChance:
    """Returns those scores for every competing row that was trained on other data."""
    tested: dict[tuple[str, str], Compared] = {}
    above: AboveChance = {}
    for row in rows:
        if not (ranked(row) and elsewhere(row.cell, dataset)):
            continue
        above[row.cell.name] = ()
        # Scores of sound do not depend on the image.
        own = row.counted.only([m for m in row.counted.metrics if is_of_words(m)])
        own = own.with_values(own.values / len(row.cells))
        tests = permuted_differences(_at_chance(row, scorer), own, scorer.spec.resampling)
        tested |= {(row.cell.name, name): compared for name, compared in tests.items()}
    p = adjusted(tested)
    errors = {s.name for row in rows for s in row.counted.scores if s.lower_is_better}
    for (name, score), compared in tested.items():
        better = compared.observed < 0 if score in errors else compared.observed > 0
        if better and p[name, score] < SIGNIFICANT:
            above[name] += (score,)
    return above


def _at_chance(row: Row, scorer: Scorer) -> Counted:
    """Returns a row's statistics with transcripts assigned to other images; seeds averaged."""
    each = []
    for cell in row.cells:
        said = dict(zip(cell.items["item"], cell.items["tokens"], strict=True))
        pairs = others(list(said), 0)
        each.append(scorer.counted({name: said[pairs.get(name, name)] for name in said}))
    return each[0].with_values(np.mean([counted.values for counted in each], axis=0))
