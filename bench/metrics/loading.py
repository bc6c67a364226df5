"""The metrics of a job: the standard ones, then those that it names."""

import importlib.metadata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Discriminator, Tag

from bench.common.entries import Entry, instantiate, source_of
from bench.common.errors import UserError
from bench.common.text import reason_of
from bench.common.validation import did_you_mean, shown
from bench.datasets.base import Choice, Item
from bench.metrics.base import (
    AudioMetric,
    CorpusMetric,
    Files,
    ImageMetric,
    ItemFiles,
    Metric,
    RowMetric,
)
from bench.metrics.settings import MetricEntry, MetricSettings
from bench.metrics.shipped import METRICS, NAMED, WITH_SETTINGS, AnySettings
from pixvox.digests import file_digest
from pixvox.errors import PixVoxError
from pixvox.plugins import METRICS as METRIC_PLUGINS
from pixvox.plugins import plugins

_WHO = "scoring: metrics"


def _known(name: str) -> str:
    names = {*NAMED, *plugins(METRIC_PLUGINS)}
    if name not in names:
        if name in WITH_SETTINGS:
            raise ValueError(f"needs settings: {WITH_SETTINGS[name]}")
        near = did_you_mean(name, sorted({*names, *WITH_SETTINGS}))
        raise ValueError(
            f"{shown(name)} is not known; {near}; a class of your own is package.module:Class"
        )
    return name


def _whose(name: Any) -> str:
    if isinstance(name, dict | MetricSettings):
        return "settings"
    return "own" if isinstance(name, str) and ":" in name else "named"


MetricName = Annotated[
    Annotated[str, AfterValidator(_known), Tag("named")]
    | Annotated[Entry, Tag("own")]
    | Annotated[AnySettings, Tag("settings")],
    Discriminator(_whose),
]
"""A metric of the suite's or of a plug-in by its name, one of the suite's with its settings, or a
class of the user's own."""


def class_of(entry: MetricEntry) -> str:
    """The class of a metric that is not the suite's, `package.module:Class`; else ""."""
    if isinstance(entry, MetricSettings) or entry in NAMED:
        return ""
    plugin = plugins(METRIC_PLUGINS).get(entry)
    return plugin.entry if plugin is not None else entry


def metric_of(entry: MetricEntry) -> CorpusMetric:
    """A metric as a job gives it; raises UserError for a class that is none."""
    if isinstance(entry, MetricSettings):
        return entry.metric()
    name = class_of(entry)
    if not name:
        return NAMED[entry]
    source_of(name, _WHO)
    metric = instantiate(name, _WHO)
    if not isinstance(metric, Metric | ImageMetric | AudioMetric | RowMetric):
        needs = "Metric, ImageMetric, AudioMetric or RowMetric"
        raise UserError(f"{_WHO}: {name} is no {needs} of bench.metrics.base; derive it from one")
    return metric


def metrics_of(entries: Sequence[MetricEntry]) -> tuple[CorpusMetric, ...]:
    """All metrics that a job scores by; raises UserError as `metric_of`, and for names that two
    of them share."""
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


def check_metrics(entries: Sequence[MetricEntry], files: Files) -> None:
    """Raises UserError where a metric of a job, or what it computes with, cannot be used.

    `files` are those of the job's items.
    """
    metrics_of(entries)
    for entry in entries:
        metric = metric_of(entry)
        weights_of(entry, metric)
        if reason := metric.unusable(files):
            raise UserError(f"{_WHO}: {entry}: {reason}")


def files_of(items: Iterable[Item], caption: Choice) -> Files:
    """The files of items, with the recorded speech of the caption that a job chooses."""
    return {item.id: ItemFiles(item.image, _recording(item, caption)) for item in items}


def _recording(item: Item, caption: Choice) -> Path | None:
    chosen = item.captions[item.chosen(caption) :][:1]
    return chosen[0].speech if chosen else None


def _names(metric: CorpusMetric) -> list[str]:
    """Returns the names that no other metric of a job may have: those of its scores and columns."""
    scores = [name for score in metric.scores for name in (score.name, score.head)]
    return [*scores, *(f"{metric.name}: {column}" for column in metric.columns)]


def weights_of(entry: MetricEntry, metric: CorpusMetric) -> str:
    """The digest of what a metric computes with; raises UserError for whatever its code raises."""
    try:
        return metric.weights()
    except (PixVoxError, MemoryError):
        raise
    except Exception as error:
        # Any exception of the user's code is reported in one line that names the metric.
        raise UserError(f"{_WHO}: {entry}: weights: {reason_of(error)}; fix it") from error


def source_digest(entry: MetricEntry) -> str:
    """The digest of a metric's module, 16 hex digits; "" for one of the suite's."""
    name = class_of(entry)
    return file_digest(source_of(name, _WHO))[:16] if name else ""


def metrics_text(entries: Sequence[MetricEntry]) -> str:
    """What a signature says of the metrics: versions, weights, settings, and sources of classes of
    others."""
    package = f"pycocoevalcap-{importlib.metadata.version('pycocoevalcap')}"
    return ",".join([package, *map(_text, entries)])


def _text(entry: MetricEntry) -> str:
    source, metric = source_digest(entry), metric_of(entry)
    plugin = plugins(METRIC_PLUGINS).get(str(entry)) if source else None
    version = f"v{metric.version}" if isinstance(metric, AudioMetric) and not source else ""
    package = plugin.version if plugin is not None else ""
    parts = [version, package, source[:8], weights_of(entry, metric)[:8]]
    joined = ".".join(filter(None, [*parts, metric.settings()]))
    return f"{entry}@{joined}" if joined else str(entry)
