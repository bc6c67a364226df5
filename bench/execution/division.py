"""How many actors of each kind there are, and who computes on which GPU or share of one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.jobs.spec import ClusterSpec

GENERATOR_CORES = 4
"""Cores for whose transcribers one generator is enough."""
_PARTS = 10_000
"""Ray divides a GPU, or a core, into so many parts."""


@dataclass(frozen=True, kw_only=True)
class Division:
    """How many actors of each kind, and the number of each one's GPU: none where it has none.

    `cpu` is the share of a core that a transcriber without a GPU asks for.
    """

    generators: int
    transcribers: int
    generator_gpus: tuple[int, ...] = ()
    transcriber_gpus: tuple[int, ...] = ()
    cpu: float = 0.0

    def share(self, gpu: int) -> float:
        """The share of a GPU that each of its actors has."""
        return _part((*self.generator_gpus, *self.transcriber_gpus).count(gpu))


def _part(actors: int) -> float:
    """The equal share of so many, rounded down to what Ray can count."""
    return _PARTS // actors / _PARTS


def divide_gpus(actors: int, gpus: int) -> tuple[int, ...]:
    """The GPU of each actor: a whole one each as far as they go, and none is left over.

    Where there are more actors than GPUs, a GPU has as many as any other, or one more; the first
    actors are on those with fewer.
    """
    if actors <= gpus:
        return tuple(range(actors))
    each, more = divmod(actors, gpus)
    counts = [each + (number >= gpus - more) for number in range(gpus)]
    return tuple(number for number, count in enumerate(counts) for _ in range(count))


def divide(spec: ClusterSpec, gpus: int, cpus: int, *, generates_on_gpu: bool) -> Division:
    """0 in the job means as the machine has; whatever is asked for, every actor can be placed.

    Without GPUs there is a transcriber a core and a generator for every four, because on CPU
    transcribing costs several times what generating does. Where nothing generates on a GPU the
    transcribers have them all.
    """
    on_gpu = gpus > 0 and generates_on_gpu
    generators = spec.generators or max(1, gpus // 2 if on_gpu else cpus // GENERATOR_CORES)
    if not gpus:
        transcribers = spec.transcribers or max(1, cpus)
        cpu = _part(-(-transcribers // cpus)) if cpus else 0.0
        return Division(generators=generators, transcribers=transcribers, cpu=cpu)
    taken = generators if on_gpu else 0
    transcribers = spec.transcribers or max(1, gpus - taken)
    numbers = divide_gpus(taken + transcribers, gpus)
    return Division(
        generators=generators,
        transcribers=transcribers,
        generator_gpus=numbers[:taken],
        transcriber_gpus=numbers[taken:],
    )


def gpus_to_divide(spec: ClusterSpec, here: int, most: int) -> int:
    """The GPUs to plan for: those here and, where the cluster scales, as many as actors ask for.

    `most` are those that it can have. What the job does not say is one actor of each kind, since a
    cluster that scales may cost what it scales to.
    """
    return max(here, min(most, (spec.generators or 1) + (spec.transcribers or 1)))


class GpuPlaces:
    """The division's GPUs, each reserved by itself: its actors share it, whoever starts first.

    Shares alone would not do: Ray puts an actor wherever its share fits, so two halves may end on
    two GPUs, and a whole one has no place any more.
    """

    def __init__(self, division: Division) -> None:
        from ray.util import placement_group

        self._division = division
        numbers = {*division.generator_gpus, *division.transcriber_gpus}
        self._groups = {number: placement_group([{"GPU": 1}]) for number in numbers}

    def options(self, gpus: Sequence[int], place: int) -> Mapping[str, Any]:
        """Ray's options of the actor at a place, whose GPU is `gpus[place]`; none without GPUs."""
        if not gpus:
            return {}
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        strategy = PlacementGroupSchedulingStrategy(self._groups[gpus[place]], 0)
        share = self._division.share(gpus[place])
        return {"num_gpus": share, "scheduling_strategy": strategy}
