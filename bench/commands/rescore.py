"""`pixvox rescore`: scores a run's transcripts again, without models."""

from argparse import Namespace

from bench.commands.arguments import add_job, add_limit, add_publish, add_runs, job_file
from bench.commands.options import Parser


def add_arguments(parser: Parser) -> None:
    """Adds the arguments of the command."""
    add_job(parser, "its job file, whose `scoring` may have changed")
    add_limit(parser)
    add_runs(parser)
    add_publish(parser)


def run(args: Namespace) -> int:
    """Scores the transcripts; returns 0 if all rows are there."""
    from bench.commands.run import RunOptions, run_job

    options = RunOptions(runs=args.runs, score_only=True, publish_to=args.publish)
    return run_job(job_file(args), options)
