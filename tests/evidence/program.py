"""Runs the programs of this folder: `python -m tests.evidence.NAME`."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from bench.common.errors import RunFailed, UserError

ROOT = Path(__file__).parents[2]


def on_path() -> str:
    """Returns the PYTHONPATH for processes that import `tests.evidence`, including Ray's."""
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


def program(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Ends this process with the code of `main`, which is given the words of the command line.

    Bad input is one line and 2, a measurement that failed one line and 3.
    """
    os.environ["PYTHONPATH"] = on_path()
    try:
        code = main(sys.argv[1:])
    except (UserError, RunFailed) as error:
        print(error, file=sys.stderr)
        code = 2 if isinstance(error, UserError) else 3
    sys.exit(code)


def output_of(module: str, *words: str) -> str:
    """Runs a program of this folder in another process; returns the last line that it prints.

    Raises RunFailed where it ends with another code than 0.
    """
    command = [sys.executable, "-P", "-m", f"tests.evidence.{module}", *words]
    environment = os.environ | {"PYTHONPATH": on_path()}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise RunFailed(f"{module} {' '.join(words)} ended with status {done.returncode}: {last}")
    return done.stdout.splitlines()[-1]
