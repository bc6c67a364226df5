"""The executor: starts Ray and the actors, and has them do what is missing."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.asr.base import Asr
from bench.common.errors import RunFailed
from bench.common.progress import Progress
from bench.execution.cluster import find_cluster, machines, most_gpus, names_of, placed, print_ray
from bench.execution.division import Division, GpuPlaces, divide, gpus_to_divide
from bench.execution.nodefiles import NodeFiles, on_nodes, whole_files
from bench.execution.ownmodules import own_modules
from bench.execution.parcels import pack
from bench.execution.pipeline import Pipeline, Plan
from bench.execution.runstate import RunState
from bench.execution.session import ray_session
from bench.execution.stages import Stage, together
from bench.jobs.cells import Cell
from bench.systems.base import System


@dataclass(frozen=True)
class Actors:
    """What generates and what transcribes; `work` takes and gives what the real actors' does.

    `load_weights` is False for stubs, which have none.
    """

    generator: type
    transcriber: type
    load_weights: bool = True


def real_actors() -> Actors:
    """Models: a system that generates, a codec and an ASR that transcribe."""
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
    """Generates and transcribes all that is missing; how busy each stage was.

    `address` is that of a Ray cluster, in place of the job's and of RAY_ADDRESS. Where `stop` says
    so nothing new is begun; what is in flight is committed, and KeyboardInterrupt raised. Raises
    RunFailed where a row is missing after all.
    """
    for cell in run.cells:
        if cell.asr is None:
            run.write_text(cell)
    if not run.missing:
        return ()
    stages: list[Stage] = []
    actors = actors or real_actors()
    # First what takes seconds and may end the run, then what may take an hour.
    address = find_cluster(address or run.job.cluster.address)
    _prepare_systems(run, report, stop)
    cells = [
        cell
        for cell in run.cells
        if cell.asr and cell.source is None and not run.transcribed[cell.transcript_key].full
    ]
    modules = () if address is None else own_modules(*_computing(cells))
    with ray_session(address, modules), TemporaryDirectory(prefix="gathered-") as folder:
        if address is None:
            plan, cores = _local_plan(run, actors)
        else:
            # Stubs have no weights, and read no training data.
            using = cells if actors.load_weights else ()
            gathered = _gathered(_generating(run) if using else (), Path(folder))
            plan = _cluster_plan(run, actors, address, cells=using, gathered=gathered)
            # They are several machines'.
            cores = 0
        for asr in dict.fromkeys(run.job.asrs):
            cells = [cell for cell in run.cells if cell.asr == asr and cell.source is None]
            if any(not run.transcribed[cell.transcript_key].full for cell in cells):
                stages += Pipeline(run, plan, cells, asr, report, stop).run()
    if run.missing:
        raise RunFailed(f"{run.missing} rows did not come back; run the job again")
    return tuple(replace(stage, cores=cores) for stage in together(stages))


def _local_plan(run: RunState, actors: Actors) -> tuple[Plan, int]:
    """How the run's actors are started in a Ray of this command's own, and its cores."""
    import ray

    parts = _division(run, None)
    places = GpuPlaces(parts)
    # One thread an actor: more would only fight over the same cores.
    generator = ray.remote(num_cpus=0, num_gpus=0)(actors.generator)
    transcriber = ray.remote(num_cpus=parts.cpu, num_gpus=0)(actors.transcriber)

    def generate(place: int, system: System) -> Any:
        gpus = parts.generator_gpus if system.uses_gpu else ()
        return generator.options(**places.options(gpus, place)).remote(system, 1)

    def transcribe(place: int, asr: Asr) -> Any:
        options = places.options(parts.transcriber_gpus, place)
        return transcriber.options(**options).remote(asr, 1)

    plan = Plan(
        generator=generate,
        transcriber=transcribe,
        division=parts,
        deadline=run.job.cluster.deadline_seconds,
        placed=_placing(dict),
    )
    # A container may have fewer cores than the machine, and a process fewer than either.
    cores = max(1, machines(ray.nodes()).cores)
    return plan, min(cores, len(os.sched_getaffinity(0)))


def _gathered(systems: Iterable[System], folder: Path) -> dict[System, System]:
    """What generators hold → the same for other nodes; what they read there lies in the folder."""
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
) -> Plan:
    """How the run's actors are started in a cluster, whose nodes have none of the driver's files.

    `cells` are those whose systems and ASRs have weights; `gathered` the systems that generate, as
    other nodes have them.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # What reads training data runs on the driver's node, without a GPU.
    at_home = {system for system, there in gathered.items() if there.reads_training()}
    parts = _division(run, address, at_home)
    places = GpuPlaces(parts)
    # Transcribers decode by the codecs of systems that have generated before, too.
    systems, asrs = _computing(cells)
    files = NodeFiles(whole_files([*gathered.values(), *systems], asrs))
    generator = ray.remote(num_cpus=0, num_gpus=0)(on_nodes(actors.generator))
    reader = ray.remote(num_cpus=0, num_gpus=0)(_in_driver_s_folder(actors.generator))
    transcriber = ray.remote(num_cpus=parts.cpu, num_gpus=0)(on_nodes(actors.transcriber))

    def generate(place: int, system: System) -> Any:
        if system in at_home:
            at = NodeAffinitySchedulingStrategy(files.home, soft=False)
            return reader.options(scheduling_strategy=at).remote(system, 1)
        gpus = parts.generator_gpus if system.uses_gpu else ()
        options = places.options(gpus, place)
        given = pack((gathered.get(system, system), 1))
        return generator.options(**options).remote(files.sent(), files.home, given)

    def transcribe(place: int, asr: Asr) -> Any:
        options = places.options(parts.transcriber_gpus, place)
        return transcriber.options(**options).remote(files.sent(), files.home, pack((asr, 1)))

    return Plan(
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
    """How cores and GPUs are divided; prints what there is.

    What is generated `at_home`, on the driver's node of a cluster, computes on no GPU.
    """
    import ray

    spec = run.job.cluster
    has = machines(ray.nodes())
    print_ray(address, has)
    generates_on_gpu = any(
        system.uses_gpu and system.shared() not in at_home for system in _generating(run)
    )
    gpus = gpus_to_divide(spec, has.gpu_count, most_gpus() if address else 0)
    return divide(spec, gpus, has.cores, generates_on_gpu=generates_on_gpu)


def _placing(
    names: Callable[[], Mapping[str, str]],
) -> Callable[[Mapping[str, Sequence[str]]], None]:
    """Prints where actors are, once they have started; the same line only once.

    `names` gives the nodes' names at that time.
    """
    said: set[str] = set()

    def say_placed(kinds: Mapping[str, Sequence[str]]) -> None:
        line = f"actors: {placed(kinds, names())}"
        if line not in said:
            said.add(line)
            print(line)

    return say_placed


def _computing(cells: Sequence[Cell]) -> tuple[list[System], list[Asr]]:
    """The systems and ASRs of cells, each once."""
    systems = dict.fromkeys(cell.system for cell in cells)
    return list(systems), list(dict.fromkeys(cell.asr for cell in cells if cell.asr is not None))


def _in_driver_s_folder(actor: Any) -> type:
    """The class, with actors that start in the driver's folder: they run on its machine."""
    folder = Path.cwd()

    class Here(actor):
        def __init__(self, *arguments: object) -> None:
            os.chdir(folder)
            super().__init__(*arguments)

    # Ray names processes so, and those who look for them.
    Here.__name__ = Here.__qualname__ = actor.__name__
    return Here


def _generating(run: RunState) -> list[System]:
    """The systems that are to generate, each once."""
    lacking = [
        cell.system
        for cell in run.cells
        if cell.asr and cell.source is None and not run.generated[cell.speech_key].full
    ]
    return list(dict.fromkeys(lacking))


def _prepare_systems(run: RunState, report: Progress, stop: Callable[[], bool]) -> None:
    """Has every system that is to generate compute what its generators share.

    Raises KeyboardInterrupt where it is stopped; what was computed is kept.
    """

    def watched(what: str, done: int, total: int) -> None:
        report(what, done, total)
        if stop():
            raise KeyboardInterrupt

    # What generators share does not depend on a seed.
    systems = (system.at(system.point() | {"seed": 0}) for system in _generating(run))
    for system in dict.fromkeys(systems):
        system.prepare(watched)
