"""`python -m bench.chaos FOLDER ...`: a stub run under supervision, as every command is."""

import sys

from bench.supervisor import supervise


def _work() -> int:
    # Not before the child is there: a supervisor has one thread, or signals would miss it.
    from bench.chaos.attempt import main

    return main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(supervise(_work, "start it again"))
