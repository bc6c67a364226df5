"""The executor: starts Ray and the actors, which complete the rows that the ledger lacks."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.asr.base import Asr
from bench.common.errors import RunFailed
from bench.common.progress import Progress
from bench.execution.cluster import (
    describe_placement,
    find_cluster,
    most_gpus,
    names_of,
    print_ray,
    sum_resources,
)
from bench.execution.division import Division, GpuPlaces, divide, gpus_to_divide
from bench.execution.nodefiles import NodeFiles, on_nodes, whole_files
from bench.execution.ownmodules import own_modules
from bench.execution.parcels import pack
from bench.execution.pipeline import ActorPlan, Pipeline
from bench.execution.runstate import RunState
from bench.execution.session import ray_session
from bench.execution.stages import Stage, merge_stages
from bench.jobs.cells import Cell
from bench.systems.base import System


@dataclass(frozen=True)
class Actors:
    """The classes of both kinds of actor; tests replace them by stubs with the same `work`.

    `load_weights` is False for stubs, which have no weights.
    """

    generator: type
    transcriber: type
    load_weights: bool = True


def real_actors() -> Actors:
    """Returns the actors that hold models."""
    from bench.execution.actors import GeneratorActor, TranscriberActor

    return Actors(GeneratorActor, TranscriberActor)


def execute(
    run: RunState,
    report: Progress,
    actors: Actors | None = None,
    stop: Callable[[], bool] = lambda: False,
    *,
    address: str | None = None,
) -> tuple[Stage, ...]:
    """Generates, transcribes and measures all missing rows; returns how busy each stage was.

    `address` of a Ray cluster replaces the job's and RAY_ADDRESS. Once `stop` returns True no
    batch is begun; batches in flight are committed and KeyboardInterrupt is raised. Raises
    RunFailed where a row is still missing at the end, and as `find_cluster` and `Pool.collect`.
    """
    for cell in run.cells:
        if cell.asr is None:
            run.write_text(cell)
    if not (run.missing or run.unmeasured):
        return ()
    stages: list[Stage] = []
    actors = actors or real_actors()
    # Finding a cluster takes seconds and may fail; preparing a system may take an hour.
    address = find_cluster(address or run.job.cluster.address)
    _prepare_systems(run, report, stop)
    cells = [
        cell for cell in run.cells if cell.asr and cell.source is None and not run.is_whole(cell)
    ]
    # Stubs measure nothing, have no weights, and read no training data.
    metrics = run.metrics if actors.load_weights else ()
    modules = () if address is None else own_modules(*_computing(cells), metrics)
    with ray_session(address, modules), TemporaryDirectory(prefix="gathered-") as folder:
        if address is None:
            plan, cores = _local_plan(run, actors)
        else:
            using = cells if actors.load_weights else ()
            gathered = _gathered(_generating(run) if using else (), Path(folder))
            plan = _cluster_plan(run, actors, address, cells=using, gathered=gathered)
            # The cores are those of several machines.
            cores = 0
        for asr in dict.fromkeys(run.job.asrs):
            cells = [cell for cell in run.cells if cell.asr == asr and cell.source is None]
            if not all(run.is_whole(cell) for cell in cells):
                stages += Pipeline(run, plan, cells, asr, report=report, stop=stop).run()
    if lost := run.missing + run.unmeasured:
        raise RunFailed(f"{lost} rows are still missing; run the job again")
    return tuple(replace(stage, cores=cores) for stage in merge_stages(stages))


def _local_plan(run: RunState, actors: Actors) -> tuple[ActorPlan, int]:
    """Returns how the run's actors are started in a local Ray, and its number of cores."""
    import ray

    parts = _division(run, None)
    places = GpuPlaces(parts)
    # One thread an actor, because there are as many actors as cores.
    generator = ray.remote(num_cpus=0, num_gpus=0)(actors.generator)
    transcriber = ray.remote(num_cpus=parts.cpu, num_gpus=0)(actors.transcriber)
    metrics = run.metrics

    def generate(place: int, system: System) -> Any:
        gpus = parts.generator_gpus if system.uses_gpu else ()
        return generator.options(**places.options(gpus, place)).remote(system, 1)

    def transcribe(place: int, asr: Asr | None) -> Any:
        options = places.options(parts.transcriber_gpus, place)
        return transcriber.options(**options).remote(asr, 1, metrics)

    plan = ActorPlan(
        generator=generate,
        transcriber=transcribe,
        division=parts,
        deadline=run.job.cluster.deadline_seconds,
        placed=_placing(dict),
    )
    # Ray knows the limits of a container, but not the affinity of this process.
    cores = max(1, sum_resources(ray.nodes()).cores)
    return plan, min(cores, len(os.sched_getaffinity(0)))


def _gathered(systems: Iterable[System], folder: Path) -> dict[System, System]:
    """Maps systems to copies for other nodes, whose data are written to `folder`."""
    shared = dict.fromkeys(system.shared() for system in systems)
    return {
        system: system.gathered(folder / f"{number}.npz") for number, system in enumerate(shared)
    }


def _cluster_plan(
    run: RunState,
    actors: Actors,
    address: str,
    *,
    cells: Sequence[Cell],
    gathered: Mapping[System, System],
) -> ActorPlan:
    """Returns how the run's actors are started in a cluster, whose nodes lack the driver's files.

    `cells` are those whose systems and ASRs have weights. `gathered` maps the systems that generate
    to their copies for other nodes.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # Systems that read training data run on the driver's node, without a GPU.
    at_home = {system for system, there in gathered.items() if there.reads_training()}
    parts = _division(run, address, at_home)
    places = GpuPlaces(parts)
    # Transcribers also need the codecs of systems whose speech earlier runs generated.
    systems, asrs = _computing(cells)
    files = NodeFiles(whole_files([*gathered.values(), *systems], asrs))
    generator = ray.remote(num_cpus=0, num_gpus=0)(on_nodes(actors.generator))
    reader = ray.remote(num_cpus=0, num_gpus=0)(_in_driver_s_folder(actors.generator))
    transcriber = ray.remote(num_cpus=parts.cpu, num_gpus=0)(on_nodes(actors.transcriber))
    metrics = run.metrics

    def generate(place: int, system: System) -> Any:
        if system in at_home:
            at = NodeAffinitySchedulingStrategy(files.home, soft=False)
            return reader.options(scheduling_strategy=at).remote(system, 1)
        gpus = parts.generator_gpus if system.uses_gpu else ()
        options = places.options(gpus, place)
        given = pack((gathered.get(system, system), 1))
        return generator.options(**options).remote(files.sent(), files.home, given)

    def transcribe(place: int, asr: Asr | None) -> Any:
        options = places.options(parts.transcriber_gpus, place)
        given = pack((asr, 1, metrics))
        return transcriber.options(**options).remote(files.sent(), files.home, given)

    return ActorPlan(
        generator=generate,
        transcriber=transcribe,
        division=parts,
        deadline=run.job.cluster.deadline_seconds,
        placed=_placing(lambda: names_of(ray.nodes())),
        sends_files=True,
        at_home=frozenset(at_home),
        at_home_most=len(os.sched_getaffinity(0)),
    )


def _division(run: RunState, address: str | None, at_home: Collection[System] = ()) -> Division:
    """Returns how cores and GPUs are divided; prints what the Ray has.

    Systems `at_home` generate on the driver's node of a cluster, without a GPU.
    """
    import ray

    spec = run.job.cluster
    has = sum_resources(ray.nodes())
    print_ray(address, has)
    generates_on_gpu = any(
        system.uses_gpu and system.shared() not in at_home for system in _generating(run)
    )
    gpus = gpus_to_divide(spec, has.gpu_count, most_gpus() if address else 0)
    return divide(spec, gpus, has.cores, generates_on_gpu=generates_on_gpu)


def _placing(
    names: Callable[[], Mapping[str, str]],
) -> Callable[[Mapping[str, Sequence[str]]], None]:
    """Returns a function that prints where actors are, each line once.

    `names` returns the nodes' names at that time, by node id.
    """
    said: set[str] = set()

    def say_placed(kinds: Mapping[str, Sequence[str]]) -> None:
        line = f"actors: {describe_placement(kinds, names())}"
        if line not in said:
            said.add(line)
            print(line)

    return say_placed


def _computing(cells: Sequence[Cell]) -> tuple[list[System], list[Asr]]:
    """Returns the systems and ASRs of cells, each once."""
    systems = dict.fromkeys(cell.system for cell in cells)
    return list(systems), list(dict.fromkeys(cell.asr for cell in cells if cell.asr is not None))


def _in_driver_s_folder(actor: Any) -> type:
    """Returns a subclass whose actors, on the driver's machine, start in the driver's folder."""
    folder = Path.cwd()

    class Here(actor):
        def __init__(self, *arguments: object) -> None:
            os.chdir(folder)
            super().__init__(*arguments)

    # Ray names the process after the class, and users look for that name.
    Here.__name__ = Here.__qualname__ = actor.__name__
    return Here


def _generating(run: RunState) -> list[System]:
    """Returns the systems that lack generated speech, each once."""
    lacking = [
        cell.system
        for cell in run.cells
        if cell.asr and cell.source is None and not run.generated[cell.speech_key].full
    ]
    return list(dict.fromkeys(lacking))


def _prepare_systems(run: RunState, report: Progress, stop: Callable[[], bool]) -> None:
    """Calls `prepare` of every system that generates, which computes what its generators share.

    Raises KeyboardInterrupt where it is stopped; what was computed stays cached.
    """

    def watched(what: str, done: int, total: int) -> None:
        report(what, done, total)
        if stop():
            raise KeyboardInterrupt

    # The shared data do not depend on the seed.
    systems = (system.at(system.point() | {"seed": 0}) for system in _generating(run))
    for system in dict.fromkeys(systems):
        system.prepare(watched)
