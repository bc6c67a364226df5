"""A stub run, supervised as every command is."""

import sys

from bench.common.supervisor import supervise


def _work() -> int:
    # Not before the child is there: a supervisor has one thread, or signals would miss it.
    from tests.evidence.chaos.attempt import main

    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(supervise(_work, "start it again"))
