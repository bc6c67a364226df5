"""`python -m tests.evidence.chaos`: kills small runs at random and compares every byte."""

from collections.abc import Sequence

from bench.commands.options import Parser, path, whole
from tests.evidence.chaos.rounds import run
from tests.evidence.program import program


def main(words: Sequence[str]) -> int:
    """Runs the rounds that the command line asks for; returns the exit code."""
    parser = Parser(
        prog="python -m tests.evidence.chaos",
        description="Kills small runs at random and compares every byte.",
    )
    parser.add_argument("--rounds", type=whole(1, 100_000), default=20)
    parser.add_argument("--job", type=path, help="a small job to run for real, instead of stubs")
    parser.add_argument("--items", type=whole(1, 10_000_000), default=200, help="of stubs")
    parser.add_argument("--seed", type=whole(0, 2**32 - 1), default=0)
    parser.add_argument("--at-once", type=whole(1, 64), default=1, help="rounds beside each other")
    parser.add_argument(
        "--raylets",
        type=whole(0, 32),
        default=0,
        help="run over a Ray cluster of so many nodes on this machine, beside the driver's",
    )
    parser.add_argument("--save", type=path, help="write the verdict as JSON")
    given = parser.parse_args(words)
    sizes = (given.rounds, given.items, given.seed, given.at_once)
    return run(*sizes, save=given.save, job=given.job, raylets=given.raylets)


if __name__ == "__main__":
    program(main)
