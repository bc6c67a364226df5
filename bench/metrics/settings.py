"""What a job says of a metric that has settings: a mapping with the metric's name."""

from abc import ABC, abstractmethod
from typing import TypeAlias

from bench.common.yamlfile import Strict
from bench.metrics.base import CorpusMetric


class MetricSettings(Strict, ABC):
    """The settings of one metric; a class binds `name` to the metric's name."""

    name: str
    """Which metric it is."""

    @abstractmethod
    def metric(self) -> CorpusMetric:
        """The metric with these settings."""

    def __str__(self) -> str:
        return self.name


MetricEntry: TypeAlias = str | MetricSettings
"""A metric in a job: its name, `package.module:Class`, or its settings. No job has two whose text
is the same, since the names of their scores would be."""
