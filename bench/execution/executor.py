"""The executor: starts Ray and the actors, and has them do what is missing."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.common.errors import RunFailed
from bench.common.progress import Progress
from bench.execution.pipeline import Pipeline, Plan
from bench.execution.runstate import RunState
from bench.execution.session import ray_session, sizes
from bench.execution.stages import Stage, together


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
) -> tuple[Stage, ...]:
    """Generates and transcribes all that is missing; how busy each stage was.

    Where `stop` says so nothing new is begun; what is in flight is committed, and
    KeyboardInterrupt raised. Raises RunFailed where a row is missing after all.
    """
    for cell in run.cells:
        if cell.asr is None:
            run.write_text(cell)
    if not run.missing:
        return ()
    stages: list[Stage] = []
    actors = actors or real_actors()
    with ray_session(run.job.cluster):
        import ray

        has = ray.cluster_resources()
        # A container may have fewer cores than the machine, and a process fewer than either.
        cores = min(int(has.get("CPU", 1)), len(os.sched_getaffinity(0)))
        cores = 0 if run.job.cluster.address else cores
        wanted = sizes(run.job.cluster, int(has.get("GPU", 0)), int(has.get("CPU", 1)))
        # One thread an actor: more would only fight over the same cores.
        plan = Plan(
            ray.remote(num_cpus=0, num_gpus=wanted.gpu)(actors.generator),
            ray.remote(num_cpus=wanted.cpu, num_gpus=wanted.gpu)(actors.transcriber),
            wanted,
            run.job.cluster.deadline_seconds,
        )
        for asr in dict.fromkeys(run.job.asrs):
            cells = [cell for cell in run.cells if cell.asr == asr and cell.source is None]
            if any(not run.transcribed[cell.transcript_key].full for cell in cells):
                stages += Pipeline(run, plan, cells, asr, report, stop).run()
    if run.missing:
        raise RunFailed(f"{run.missing} rows did not come back; run the job again")
    return tuple(replace(stage, cores=cores) for stage in together(stages))
