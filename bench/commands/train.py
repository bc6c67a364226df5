"""`pixvox train`: runs a training job, or resumes it."""

import sys
from argparse import Namespace

from bench.commands.arguments import SEED, add_address, add_changes
from bench.commands.options import Parser, path


def add_arguments(parser: Parser) -> None:
    """Adds what the command takes."""
    parser.add_argument("job", type=path, help="a job file, such as jobs/train/encodec-tiny.yaml")
    add_changes(parser, "plan.steps=100")
    parser.add_argument("--seed", type=SEED, help="another than the job's; adds -seedN to output")
    add_address(parser)


def run(args: Namespace) -> int:
    """Trains until the job's plan is done, and prints where the weights are."""
    from bench.common.atomic import disk_errors
    from bench.common.errors import bad_input
    from bench.common.interrupt import stoppable
    from bench.common.jobfile import JobFile
    from bench.common.lock import locked
    from bench.common.progress import progress
    from bench.execution.cluster import refuse_submitted
    from bench.training.keeping import state_folder
    from bench.training.run import RUNNERS
    from bench.training.spec import TrainingJob, at_address, seeded
    from bench.training.stop import describe_checkpoint

    job = JobFile(args.job, tuple(args.changes)).read(TrainingJob)
    if args.seed is not None:
        job = seeded(job, args.seed)
    refuse_submitted(job.output, "output")
    if args.address is not None:
        job = at_address(job, args.address)
    folder = state_folder(job)
    with bad_input(), disk_errors(folder), locked(folder), stoppable() as stop:
        try:
            with progress() as report:
                RUNNERS[type(job)](job, report, stop)
        except KeyboardInterrupt:
            print(describe_checkpoint(folder), file=sys.stderr)
            raise
    print(f"weights: {job.output}")
    return 0
