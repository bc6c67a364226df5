"""The metrics that come with the suite, in the order of the papers' tables."""

from collections.abc import Sequence

from bench.metrics.base import Metric, Score
from bench.metrics.bleu import Bleu
from bench.metrics.cider import Cider
from bench.metrics.facts import Facts
from bench.metrics.meteor import Meteor
from bench.metrics.rouge import RougeL
from bench.metrics.wer import Wer

METRICS: tuple[Metric, ...] = (Bleu(), Meteor(), RougeL(), Cider(), Facts(), Wer())


def scores_of(metrics: Sequence[Metric]) -> tuple[Score, ...]:
    """What metrics give, in their order."""
    return tuple(score for metric in metrics for score in metric.scores)
