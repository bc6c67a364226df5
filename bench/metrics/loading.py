"""The metrics of a job: the standard ones, then those that it names."""

import importlib.metadata
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Tag

from bench.common.entries import Entry, instantiate, source_of
from bench.common.errors import UserError
from bench.common.text import reason_of
from bench.common.validation import did_you_mean, shown
from bench.metrics.base import AudioMetric, CorpusMetric, Metric, RowMetric
from bench.metrics.shipped import METRICS, NAMED
from pixvox.digests import file_digest
from pixvox.errors import PixVoxError
from pixvox.plugins import METRICS as METRIC_PLUGINS
from pixvox.plugins import plugins

_WHO = "scoring: metrics"


def _known(name: str) -> str:
    names = {*NAMED, *plugins(METRIC_PLUGINS)}
    if name not in names:
        near = did_you_mean(name, sorted(names))
        raise ValueError(
            f"{shown(name)} is not known; {near}; a class of your own is package.module:Class"
        )
    return name


def _whose(name: Any) -> str:
    return "own" if isinstance(name, str) and ":" in name else "named"


MetricName = Annotated[
    Annotated[str, AfterValidator(_known), Tag("named")] | Annotated[Entry, Tag("own")],
    Discriminator(_whose),
]
"""The name of a metric of the suite or of a plug-in, or a class of the user."""


def class_of(entry: str) -> str:
    """Returns the class of a user's metric, `package.module:Class`; "" for one of the suite's."""
    if entry in NAMED:
        return ""
    plugin = plugins(METRIC_PLUGINS).get(entry)
    return plugin.entry if plugin is not None else entry


def metric_of(entry: str) -> CorpusMetric:
    """Returns a metric by its name in a job; raises UserError for a class that is not a metric."""
    name = class_of(entry)
    if not name:
        return NAMED[entry]
    source_of(name, _WHO)
    metric = instantiate(name, _WHO)
    if not isinstance(metric, Metric | AudioMetric | RowMetric):
        needs = "Metric, AudioMetric or RowMetric"
        raise UserError(f"{_WHO}: {name} is no {needs} of bench.metrics.base; derive it from one")
    return metric


def metrics_of(entries: Sequence[str]) -> tuple[CorpusMetric, ...]:
    """Returns all metrics that a job scores by; raises UserError as `metric_of`, and for a name
    that two of them share."""
    metrics: list[CorpusMetric] = list(METRICS)
    for entry in entries:
        metric = metric_of(entry)
        shared = {name for other in metrics for name in _names(other)} & set(_names(metric))
        if shared:
            raise UserError(
                f"{_WHO}: {entry}: {min(shared)!r} is also the name of another metric; rename one"
            )
        metrics.append(metric)
    return tuple(metrics)


def check_metrics(entries: Sequence[str]) -> None:
    """Raises UserError if a metric of a job, or the weights that it needs, cannot be used."""
    metrics_of(entries)
    for entry in entries:
        weights_of(entry, metric_of(entry))


def _names(metric: CorpusMetric) -> list[str]:
    """Returns the names that no other metric of a job may have: those of its scores and columns."""
    scores = [name for score in metric.scores for name in (score.name, score.head)]
    return [*scores, *(f"{metric.name}: {column}" for column in metric.columns)]


def weights_of(entry: str, metric: CorpusMetric) -> str:
    """Returns the digest of a metric's weights; raises UserError for any exception of its code."""
    try:
        return metric.weights()
    except (PixVoxError, MemoryError):
        raise
    except Exception as error:
        # Any exception of the user's code is reported in one line that names the metric.
        raise UserError(f"{_WHO}: {entry}: weights: {reason_of(error)}; fix it") from error


def source_digest(entry: str) -> str:
    """Returns the digest of a metric's module, 16 hex digits; "" for a metric of the suite."""
    name = class_of(entry)
    return file_digest(source_of(name, _WHO))[:16] if name else ""


def metrics_text(entries: Sequence[str]) -> str:
    """Returns the metrics' part of a signature: versions, weights, and users' source digests."""
    package = f"pycocoevalcap-{importlib.metadata.version('pycocoevalcap')}"
    return ",".join([package, *map(_text, entries)])


def _text(entry: str) -> str:
    source, metric = source_digest(entry), metric_of(entry)
    plugin = plugins(METRIC_PLUGINS).get(entry) if source else None
    version = f"v{metric.version}" if isinstance(metric, AudioMetric) and not source else ""
    package = plugin.version if plugin is not None else ""
    parts = [version, package, source[:8], weights_of(entry, metric)[:8]]
    joined = ".".join(filter(None, parts))
    return f"{entry}@{joined}" if joined else entry
