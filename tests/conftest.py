"""What all tests and the processes that they start have in common.

One compute thread a process: two test workers and what they start share two cores. Threads of one
product wait for each other by spinning, which takes their cores from the others: with two threads
each the same tests took half as long again, and five times as long beside other work. Tests of
several threads ask for them.

Computing on CPUs, as if no GPU were there, real or pretended: what the tests compare is the same on
every machine, and workers are as many as they ask for. Tests of several GPUs pretend them to Ray.
Only `pytest tests/gpu` sees what GPUs there are.

Signals as in a terminal: a shell that starts the tests in the background has them ignore Ctrl-C,
nohup has them ignore SIGHUP, and what they start would inherit that.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.evidence.program import on_path

# Processes that tests start, Ray's among them, import programs of tests.evidence.
os.environ["PYTHONPATH"] = on_path()
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Ray gives its workers nice 15, with which they starve beside other tests.
os.environ.setdefault("RAY_worker_niceness", "0")
if not any(Path(word).parts[:2] == ("tests", "gpu") for word in sys.argv[1:]):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
os.environ.pop("RAY_OVERRIDE_RESOURCES", None)
for stop in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(stop) == signal.SIG_IGN:
        default = signal.default_int_handler if stop == signal.SIGINT else signal.SIG_DFL
        signal.signal(stop, default)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Has slow tests run first: a long test that runs last keeps one core only busy."""
    items.sort(
        key=lambda item: (item.get_closest_marker("slow") is None, "faults" not in item.path.parts)
    )


AsNode = Callable[[str], AbstractContextManager[None]]


@pytest.fixture
def as_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsNode:
    """A context by a node's name: Ray that is started in it has a folder, home and cache there."""
    token = Path.home() / ".ray" / "auth_token"
    # Ray hands the interpreter of some workers to a shell unquoted.
    python = tmp_path / "python"
    python.symlink_to(sys.prefix, target_is_directory=True)

    @contextmanager
    def context(name: str) -> Iterator[None]:
        home = tmp_path / name
        (home / "cache").mkdir(parents=True)
        with monkeypatch.context() as there:
            there.chdir(home)
            there.setenv("HOME", str(home))
            there.setenv("XDG_CACHE_HOME", str(home / "cache"))
            there.setattr(sys, "executable", str(python / "bin" / Path(sys.executable).name))
            if token.exists():
                # Ray may have read it in this process, and its servers look for the same.
                there.setenv("RAY_AUTH_TOKEN_PATH", str(token))
            yield

    return context
