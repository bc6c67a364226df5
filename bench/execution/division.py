"""Divides cores and GPUs: the number of actors of each kind, and the GPU of each actor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.jobs.spec import ClusterSpec

GENERATOR_CORES = 4
"""One generator for this many cores, with a transcriber on each, keeps the transcribers busy."""
_PARTS = 10_000
"""Ray divides a GPU or a core into this many parts."""


@dataclass(frozen=True, kw_only=True)
class Division:
    """The number of actors of each kind, and the number of each actor's GPU, if it has one.

    `cpu` is the share of a core that a transcriber without a GPU asks Ray for.
    """

    generators: int
    transcribers: int
    generator_gpus: tuple[int, ...] = ()
    transcriber_gpus: tuple[int, ...] = ()
    cpu: float = 0.0

    def share(self, gpu: int) -> float:
        """Returns the share of a GPU that each of its actors has."""
        return _part((*self.generator_gpus, *self.transcriber_gpus).count(gpu))


def _part(actors: int) -> float:
    """Returns one actor's equal share, rounded down to a multiple of 1 / _PARTS."""
    return _PARTS // actors / _PARTS


def divide_gpus(actors: int, gpus: int) -> tuple[int, ...]:
    """Returns the number of each actor's GPU; every GPU is used if there are enough actors.

    Where there are more actors than GPUs, the GPUs' numbers of actors differ by at most one, and
    the first actors are on GPUs with fewer.
    """
    if actors <= gpus:
        return tuple(range(actors))
    each, more = divmod(actors, gpus)
    counts = [each + (number >= gpus - more) for number in range(gpus)]
    return tuple(number for number, count in enumerate(counts) for _ in range(count))


def divide(spec: ClusterSpec, gpus: int, cpus: int, *, generates_on_gpu: bool) -> Division:
    """Returns the numbers of actors, where the job gives 0, and their GPUs; all can be placed.

    Without GPUs there is one transcriber a core and one generator for every four cores, because on
    a CPU transcribing takes several times as long as generating. If no system generates on a GPU,
    the transcribers share all GPUs.
    """
    on_gpu = gpus > 0 and generates_on_gpu
    generators = spec.generators or max(1, gpus // 2 if on_gpu else cpus // GENERATOR_CORES)
    if not gpus:
        transcribers = spec.transcribers or max(1, cpus)
        cpu = _part(-(-transcribers // cpus)) if cpus else 0.0
        return Division(generators=generators, transcribers=transcribers, cpu=cpu)
    on_gpus = generators if on_gpu else 0
    transcribers = spec.transcribers or max(1, gpus - on_gpus)
    numbers = divide_gpus(on_gpus + transcribers, gpus)
    return Division(
        generators=generators,
        transcribers=transcribers,
        generator_gpus=numbers[:on_gpus],
        transcriber_gpus=numbers[on_gpus:],
    )


def gpus_to_divide(spec: ClusterSpec, here: int, most: int) -> int:
    """Returns the number of GPUs to plan for.

    That is the number `here`, or, where the cluster can scale up to `most`, one for each actor that
    the job asks for. Where the job does not say, one actor of each kind counts, because GPUs that a
    cluster adds may cost money.
    """
    return max(here, min(most, (spec.generators or 1) + (spec.transcribers or 1)))


class GpuPlaces:
    """A placement group of Ray for each GPU of a division, which that GPU's actors share.

    Shares alone do not suffice: Ray places an actor on any GPU with room for its share, so that two
    halves may lie on two GPUs and leave no room for an actor with a GPU of its own.
    """

    def __init__(self, division: Division) -> None:
        from ray.util import placement_group

        self._division = division
        numbers = {*division.generator_gpus, *division.transcriber_gpus}
        self._groups = {number: placement_group([{"GPU": 1}]) for number in numbers}

    def options(self, gpus: Sequence[int], place: int) -> Mapping[str, Any]:
        """Returns Ray's options for a place's actor, on GPU `gpus[place]`; none without GPUs."""
        if not gpus:
            return {}
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        strategy = PlacementGroupSchedulingStrategy(self._groups[gpus[place]], 0)
        share = self._division.share(gpus[place])
        return {"num_gpus": share, "scheduling_strategy": strategy}
