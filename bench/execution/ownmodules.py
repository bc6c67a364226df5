"""Code of classes of the user's own, which the nodes of a cluster do not have.

Metrics are computed by the driver and datasets are read by it; what actors and workers import are
the classes of systems and of ASRs.
"""

from collections.abc import Iterable

from bench.asr.base import Asr
from bench.common.entries import module_root
from bench.systems.base import System


def own_modules(systems: Iterable[System], asrs: Iterable[Asr]) -> list[str]:
    """The files and packages to send along for the classes of systems and ASRs, each once.

    Raises UserError for a class whose module is not there.
    """
    owners = {entry: system.label for system in systems for entry in system.entries()}
    owners |= {entry: asr.label for asr in asrs for entry in asr.entries()}
    roots = dict.fromkeys(module_root(entry, owner) for entry, owner in owners.items())
    return [str(path) for path in roots if path is not None]
