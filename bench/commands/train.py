"""`pixvox train`: runs a training job or a recipe of several, or resumes it."""

import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from bench.commands.arguments import SEED, add_address, add_changes
from bench.commands.options import Parser, path

if TYPE_CHECKING:
    from bench.training.spec import TrainingJob


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument("job", type=path, help="a job file, such as jobs/train/encodec-tiny.yaml")
    parser.add_argument(
        "--stage", help="only this stage of the file, by the last name of its output"
    )
    add_changes(parser, "plan.steps=100")
    parser.add_argument(
        "--seed", type=SEED, help="a seed in place of the job's; adds -seedN to output"
    )
    add_address(parser)


def run(args: Namespace) -> int:
    """Trains until every plan is done, and prints where the weights are."""
    from bench.common.errors import UserError
    from bench.common.jobfile import JobFile
    from bench.execution.cluster import refuse_submitted
    from bench.training.spec import PixVoxJob, TrainingFile, at_address, seeded, select_stages

    jobs = select_stages(JobFile(args.job, tuple(args.changes)).read(TrainingFile), args.stage)
    if args.seed is not None:
        if len(jobs) > 1:
            names = ", ".join(job.output.name for job in jobs)
            raise UserError(f"--seed: is for one stage; add --stage with one of {names}")
        jobs = [seeded(job, args.seed) for job in jobs]
    for job in jobs:
        refuse_submitted(job.output, "output")
    if args.address is not None:
        # The stages of a recipe that train without Ray do so here.
        on_ray = [job for job in jobs if isinstance(job, PixVoxJob)] or jobs
        jobs = [at_address(job, args.address) if job in on_ray else job for job in jobs]
    for job in jobs:
        _train(job)
    return 0


def _train(job: "TrainingJob") -> None:
    from bench.common.atomic import disk_errors
    from bench.common.errors import bad_input
    from bench.common.interrupt import stoppable
    from bench.common.lock import locked
    from bench.common.progress import progress
    from bench.training.keeping import state_folder
    from bench.training.run import RUNNERS
    from bench.training.stop import describe_checkpoint

    folder = state_folder(job)
    with bad_input(), disk_errors(folder), locked(folder), stoppable() as stop:
        try:
            with progress() as report:
                RUNNERS[type(job)](job, report, stop)
        except KeyboardInterrupt:
            print(describe_checkpoint(folder), file=sys.stderr)
            raise
    print(f"weights: {job.output}")
