"""The executor: starts Ray and the actors, and has them do what is missing."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.asr.base import Asr
from bench.common.errors import RunFailed
from bench.common.progress import Progress
from bench.execution.cluster import find_cluster, machines, most_gpus, names_of, placed, print_ray
from bench.execution.division import GpuPlaces, divide, gpus_to_divide
from bench.execution.pipeline import Pipeline, Plan
from bench.execution.runstate import RunState
from bench.execution.session import ray_session
from bench.execution.stages import Stage, together
from bench.systems.base import System


@dataclass(frozen=True)
class Actors:
    """What generates and what transcribes; `work` takes and gives what the real actors' does."""

    generator: type
    transcriber: type


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
    with ray_session(address):
        plan, cores = _plan(run, actors, address)
        for asr in dict.fromkeys(run.job.asrs):
            cells = [cell for cell in run.cells if cell.asr == asr and cell.source is None]
            if any(not run.transcribed[cell.transcript_key].full for cell in cells):
                stages += Pipeline(run, plan, cells, asr, report, stop).run()
    if run.missing:
        raise RunFailed(f"{run.missing} rows did not come back; run the job again")
    return tuple(replace(stage, cores=cores) for stage in together(stages))


def _plan(run: RunState, actors: Actors, address: str | None) -> tuple[Plan, int]:
    """How the run's actors are started in the Ray that was joined or started, and its cores.

    Cores are 0 where they are several machines'. Prints what there is and, as soon as they have
    started, where the actors are.
    """
    import ray

    spec = run.job.cluster
    has = machines(ray.nodes())
    print_ray(address, has)
    generates_on_gpu = any(system.uses_gpu for system in _generating(run))
    gpus = gpus_to_divide(spec, has.gpu_count, most_gpus() if address else 0)
    parts = divide(spec, gpus, has.cores, generates_on_gpu=generates_on_gpu)
    places = GpuPlaces(parts)
    # One thread an actor: more would only fight over the same cores.
    kinds = (actors.generator, actors.transcriber)
    generates, transcribes = [_here(kind) if address else kind for kind in kinds]
    generator = ray.remote(num_cpus=0, num_gpus=0)(generates)
    transcriber = ray.remote(num_cpus=parts.cpu, num_gpus=0)(transcribes)

    def generate(place: int, system: System) -> Any:
        gpus = parts.generator_gpus if system.uses_gpu else ()
        return generator.options(**places.options(gpus, place)).remote(system, 1)

    def transcribe(place: int, asr: Asr) -> Any:
        options = places.options(parts.transcriber_gpus, place)
        return transcriber.options(**options).remote(asr, 1)

    said: set[str] = set()

    def say_placed(kinds: Mapping[str, Sequence[str]]) -> None:
        line = f"actors: {placed(kinds, names_of(ray.nodes()) if address else {})}"
        if line not in said:
            said.add(line)
            print(line)

    plan = Plan(
        generator=generate,
        transcriber=transcribe,
        division=parts,
        deadline=spec.deadline_seconds,
        placed=say_placed,
    )
    # A container may have fewer cores than the machine, and a process fewer than either.
    return plan, 0 if address else min(max(1, has.cores), len(os.sched_getaffinity(0)))


def _here(actor: Any) -> type:
    """The class, with actors that start in the driver's folder where their node has it.

    A cluster's actors are started in that of its raylet, where relative paths name other files.
    """
    folder = Path.cwd()

    class Here(actor):
        def __init__(self, *arguments: object) -> None:
            with suppress(OSError):
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
