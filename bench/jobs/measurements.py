"""The measurements of a job's audio metrics, with all that their values depend on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.jobs.cells import Cell, key_of
from bench.metrics.base import AudioMetric
from bench.metrics.loading import metric_of, source_digest, weights_of
from bench.metrics.settings import MetricEntry


@dataclass(frozen=True)
class Measurement:
    """An audio metric as the job gives it; `facts` are digests for names."""

    entry: MetricEntry
    metric: AudioMetric
    facts: Mapping[str, str]

    def key(self, cell: Cell) -> str:
        """Returns the key of a cell's measurements, which does not depend on the ASR."""
        part = {} if cell.part == "whole" else {"part": cell.part}
        return key_of({"speech": cell.speech_key, **self.facts, **part})


def measurements_of(entries: Sequence[MetricEntry]) -> tuple[Measurement, ...]:
    """Those of a job's metrics that measure sound; raises UserError as `metric_of`."""
    metrics = {entry: metric_of(entry) for entry in entries}
    return tuple(
        Measurement(entry, metric, _facts(entry, metric))
        for entry, metric in metrics.items()
        if isinstance(metric, AudioMetric)
    )


def _facts(entry: MetricEntry, metric: AudioMetric) -> dict[str, str]:
    return {
        "metric": metric.name,
        "version": metric.version,
        "weights": weights_of(entry, metric),
        "source": source_digest(entry),
    }
