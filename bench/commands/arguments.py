"""Arguments that several commands have."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.commands.options import Parser, address, named, override, path, whole

if TYPE_CHECKING:
    from argparse import Namespace

    from bench.common.jobfile import JobFile

RUNS = Path("results/runs")
ITEMS = whole(1, 10_000_000)
IMAGES = whole(1, 1_000_000)
SEED = whole(0, 2**32 - 1)


def add_job(parser: Parser, meaning: str, **options: Any) -> None:
    """Adds an evaluation's job file, and the options that replace its values."""
    parser.add_argument("job", type=path, help=meaning, **options)
    add_changes(parser, "systems.0.decoding.guidance=1.5")
    parser.add_argument(
        "--asr", type=named("--asr", "model"), help="transcribe only by this model, such as base"
    )
    parser.add_argument(
        "--dataset", type=named("--dataset", "name"), help="its name, or {name: ..., root: ...}"
    )


def add_changes(parser: Parser, example: str) -> None:
    """Adds --set, which replaces values of a job file."""
    parser.add_argument(
        "--set",
        dest="changes",
        type=override,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"a value in place of the job's, such as {example}; may be repeated",
    )


def add_limit(parser: Parser) -> None:
    """Adds --limit, the number of items."""
    parser.add_argument("--limit", type=ITEMS, help="use only the first N items")


def add_runs(parser: Parser) -> None:
    """Adds --runs, the folder of runs."""
    parser.add_argument("--runs", type=path, default=RUNS, help="the folder of runs")


def add_address(parser: Parser) -> None:
    """Adds --address, the Ray cluster."""
    parser.add_argument(
        "--address",
        type=address,
        help="join this Ray cluster: HOST:PORT or auto; local for none (the job's, RAY_ADDRESS)",
    )


def add_publish(parser: Parser) -> None:
    """Adds --publish, the address to which a run's results are copied."""
    parser.add_argument(
        "--publish",
        metavar="ADDRESS",
        help="copy tables, reports and speech there afterwards: s3://BUCKET/FOLDER, gs://, hf://",
    )


def job_file(args: "Namespace") -> "JobFile":
    """Returns the job file that is named, and the options that change it."""
    from bench.common.jobfile import JobFile, Override

    # A gate uses as many items as its golden has, doctor one.
    limit = getattr(args, "limit", None)
    short = [
        args.asr,
        limit and Override(("limit",), limit, "--limit", str(limit)),
        args.dataset,
    ]
    return JobFile(args.job, (*filter(None, short), *args.changes))
