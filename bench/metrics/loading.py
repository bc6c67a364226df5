"""The metrics of a job: those that come with the suite, and the user's own after them."""

import importlib.metadata
from collections.abc import Sequence

from bench.common.entries import instantiate, source_of
from bench.common.errors import UserError
from bench.metrics.base import Metric
from bench.metrics.shipped import METRICS, scores_of
from pixvox.digests import file_digest

_WHO = "scoring: metrics"


def metrics_of(entries: Sequence[str]) -> tuple[Metric, ...]:
    """All metrics that a job scores by; raises UserError for a class that is no metric."""
    found = list(METRICS)
    for entry in entries:
        source_of(entry, _WHO)
        metric = instantiate(entry, _WHO)
        if not isinstance(metric, Metric):
            raise UserError(f"{_WHO}: {entry} is no bench.metrics.base.Metric; derive it from that")
        names = {name for score in scores_of(found) for name in (score.name, score.head)}
        taken = names & {name for score in metric.scores for name in (score.name, score.head)}
        if taken:
            raise UserError(f"{_WHO}: {entry}: {min(taken)!r} is the name of another; choose one")
        found.append(metric)
    return tuple(found)


def metrics_text(entries: Sequence[str]) -> str:
    """What a signature says of the metrics: versions, and the source of the user's own."""
    own = [f"{entry}@{file_digest(source_of(entry, _WHO))[:8]}" for entry in entries]
    return ",".join([f"pycocoevalcap-{importlib.metadata.version('pycocoevalcap')}", *own])
