"""The modules of a user's own classes, which must be sent to the nodes of a cluster.

Actors import the classes of systems, ASRs and audio metrics. The driver alone uses those of
datasets and text metrics.
"""

from collections.abc import Iterable

from bench.asr.base import Asr
from bench.common.entries import module_root
from bench.metrics.loading import class_of
from bench.metrics.settings import MetricEntry
from bench.systems.base import System


def own_modules(
    systems: Iterable[System], asrs: Iterable[Asr], metrics: Iterable[MetricEntry] = ()
) -> list[str]:
    """Returns the files and packages of the classes of systems, ASRs and metrics, each once.

    `metrics` are audio metrics as the job gives them. Raises UserError for a class whose module
    does not exist.
    """
    owners = {entry: system.label for system in systems for entry in system.entries()}
    owners |= {entry: asr.label for asr in asrs for entry in asr.entries()}
    own = (name for metric in metrics if (name := class_of(metric)))
    owners |= dict.fromkeys(own, "scoring: metrics")
    roots = dict.fromkeys(module_root(entry, owner) for entry, owner in owners.items())
    return [str(path) for path in roots if path is not None]
