"""However a command ends, it gives the right exit code and one line, and leaves nothing behind."""

import fcntl
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.cli import entry, main
from bench.common import scratch
from bench.common.processes import below, first_child, kill, pids_with_variable, state
from bench.common.scratch import MARK
from tests.evidence.stub import PAUSE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STUB = ("tests.evidence.chaos.stubrun", "run", "--items", "4000", "--die", "none", "--after", "1")
PATIENCE = 180.0


def _until(true: Callable[[], object], what: Callable[[], str]) -> None:
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until, f"never: {what()}"
        time.sleep(0.02)


def read_status(pid: int) -> list[str]:
    """Returns the kernel's lines on a process and its signals, for a failed wait's message."""
    names = ("Name", "State", "PPid", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return [line for line in lines if line.startswith(names)]


def pending(pid: int) -> set[int]:
    """Returns the signals pending for a process, which may include others than the test's."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(
        next(line for line in status.splitlines() if line.startswith("ShdPnd")).split()[1], 16
    )
    return {bit + 1 for bit in range(64) if mask >> bit & 1}


class Run:
    """A command under way, with a temporary folder and a mark of its own."""

    def __init__(self, folder: Path, *command: str) -> None:
        self.temporary = scratch.make(levels=2)
        self.mark = f"{random.getrandbits(64):x}"
        environment = os.environ | {"TMPDIR": str(self.temporary.path), "PIXVOX_TEST": self.mark}
        self.process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=environment | {PAUSE: "0.2", "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def pid_of(self, name: str) -> int:
        """Waits for a process of the run with this name, and returns its id."""
        parent = self.process.pid
        if name == "parent":
            return parent
        if name == "child":
            _until(lambda: first_child(parent), lambda: name)
            child = first_child(parent)
            assert child is not None
            return child

        def matching_pids() -> list[int]:
            return [pid for pid, called in below(parent).items() if name in called]

        _until(matching_pids, lambda: name)
        return matching_pids()[0]

    def ended(self) -> tuple[int, str]:
        """Returns the exit code and the text of stderr."""
        _, errors = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, errors

    @property
    def processes(self) -> list[int]:
        return pids_with_variable("PIXVOX_TEST", self.mark)

    @property
    def folders(self) -> list[Path]:
        return [path for path in self.temporary.path.iterdir() if path.is_dir()]

    def clear(self) -> None:
        for pid in self.processes:
            kill(pid)
        self.process.wait()
        self.temporary.remove()


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("victim", "number", "code", "said"),
    [
        ("gcs_server", signal.SIGKILL, 3, "Ray's gcs_server died"),
        ("raylet", signal.SIGKILL, 3, "Ray's raylet died"),
        ("parent", signal.SIGTERM, 143, "stopped by SIGTERM"),
        ("parent", signal.SIGHUP, 129, "stopped by SIGHUP"),
        ("parent", signal.SIGINT, 130, "stopping after the work in progress"),
        ("child", signal.SIGTERM, 143, "stopped by SIGTERM"),
        ("child", signal.SIGKILL, 3, "ended by SIGKILL"),
    ],
)
def test_every_death_gives_its_exit_code_and_one_line_and_leaves_nothing(
    tmp_path: Path, victim: str, number: signal.Signals, code: int, said: str
) -> None:
    run = Run(tmp_path, *STUB)
    try:
        run.pid_of("ray::StubTranscriber")
        os.kill(run.pid_of(victim), number)
        ended, errors = run.ended()
        assert (ended, len(errors.strip().splitlines())) == (code, 1), errors
        assert said in errors
        assert not run.processes
        assert not run.folders
    finally:
        run.clear()


@pytest.mark.chaos
def test_ctrl_c_twice_ends_a_stopped_run_at_once(tmp_path: Path) -> None:
    run = Run(tmp_path, *STUB)
    try:
        run.pid_of("ray::StubTranscriber")
        for name in ("raylet", "ray::StubTranscriber", "child"):
            os.kill(run.pid_of(name), signal.SIGSTOP)
            # On a busy machine a thread may run on for a while, and take what is sent meanwhile.
            _until(
                lambda name=name: "T (stopped)" in " ".join(read_status(run.pid_of(name))),  # type: ignore[misc]
                lambda name=name: f"{name} stopped",  # type: ignore[misc]
            )
        run.process.send_signal(signal.SIGINT)
        # The first one is passed on: it waits for a child that is stopped.
        child = run.pid_of("child")
        _until(
            lambda: signal.SIGINT in pending(child),
            lambda: f"passed on: {[read_status(pid) for pid in (run.process.pid, child)]}",
        )
        run.process.send_signal(signal.SIGINT)
        ended, errors = run.ended()
        assert ended == 130, errors
        assert not run.processes
        assert not run.folders
    finally:
        run.clear()


@pytest.mark.chaos
def test_a_killed_supervisor_leaves_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, *STUB)
    try:
        # Which cannot notice that its raylet is dead.
        os.kill(run.pid_of("ray::StubTranscriber"), signal.SIGSTOP)
        run.process.kill()
        run.process.communicate()
        _until(lambda: not run.processes, lambda: "all dead")
        assert not run.folders
    finally:
        run.clear()


def _open_in(pid: int) -> list[str]:
    files = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        # A process that starts opens and closes files meanwhile.
        with suppress(FileNotFoundError):
            files.append(str(descriptor.readlink()))
    return files


def test_a_folder_that_is_removed_during_a_sweep_ends_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "base", lambda levels=1: tmp_path)
    ending = scratch.make()
    os.close(ending.lock)
    lock = fcntl.flock

    def late(descriptor: int, how: int) -> None:
        shutil.rmtree(ending.path, ignore_errors=True)
        lock(descriptor, how)

    monkeypatch.setattr("bench.common.scratch.fcntl.flock", late)
    # The sweeper has the lock of the folder that is gone open for writing, and must not end itself.
    assert not scratch.remove_if_dead(ending.path)


def test_a_sweep_removes_only_own_folders_of_dead_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "base", lambda levels=1: tmp_path)
    alive, dead = scratch.make(), scratch.make()
    os.close(dead.lock)
    others = tmp_path / "pixvox-mine"
    others.mkdir()
    (tmp_path / "pixvox-link").symlink_to(others)
    (tmp_path / "tmpabc").mkdir()
    (tmp_path / "tmpabc" / "alive").touch()
    orphan = subprocess.Popen(["sleep", "600"], env={MARK: str(dead.path)})
    # As Ray's agents, whose titles hide whose they are.
    with (dead.path / "log").open("w") as log:
        nameless = subprocess.Popen(["sleep", "600"], env={}, stdout=log)
    reader = subprocess.Popen(["tail", "-f", str(dead.path / "log")], env={})
    bystander = subprocess.Popen(["sleep", "600"], env={MARK: str(alive.path)})
    try:
        _until(lambda: pids_with_variable(MARK, str(dead.path)), lambda: "started")
        _until(lambda: str(dead.path / "log") in _open_in(reader.pid), lambda: "reading")
        assert scratch.sweep() == [dead.path]
        assert [process.wait(PATIENCE) for process in (orphan, nameless)] == [-signal.SIGKILL] * 2
        assert state(bystander.pid)
        assert state(reader.pid)
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {alive.path.name, "pixvox-mine", "pixvox-link", "tmpabc"}
    finally:
        for process in (orphan, nameless, reader, bystander):
            process.kill()
            process.wait()
        alive.remove()


def test_a_long_tmpdir_is_replaced_by_tmp(monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", "/tmp/" + "x" * 30)
    assert scratch.base() == Path("/tmp")
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/tmp.XXXXXXXXXX/tmp")
    assert scratch.base() == Path("/tmp/tmp.XXXXXXXXXX/tmp")


def test_a_gate_that_dies_writes_an_error_to_its_output(tmp_path: Path) -> None:
    job = str(ROOT / "jobs" / "demo.yaml")
    run = Run(tmp_path, "bench.cli", "gate", job, "--any-machine", "--out", "out")
    try:
        kill(run.pid_of("child"))
        ended, errors = run.ended()
        assert ended == 3, errors
        suite = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot()
        assert suite.get("errors") == "1"
        (error,) = suite.iter("error")
        assert "ended by SIGKILL" in error.get("message", "")
        assert "Nothing was judged" in (tmp_path / "out" / "comment.md").read_text()
        assert '"failed"' in (tmp_path / "out" / "badge.json").read_text()
        assert not run.processes
        assert not run.folders
    finally:
        run.clear()


def test_a_gate_that_cannot_start_writes_an_error_to_its_output(tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_text("of an earlier gate")
    assert main(["gate", "nowhere.yaml", "--out", str(tmp_path)]) == 2
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot()
    assert [e.get("message") for e in suite.iter("error")] == ["nowhere.yaml: no such file"]


@pytest.mark.parametrize("fault", [MemoryError(), OSError(12, "no memory"), SystemExit(1)])
def test_a_gate_that_is_killed_is_no_regression(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: BaseException
) -> None:
    def broken(*arguments: object) -> int:
        raise fault

    monkeypatch.setattr("bench.common.supervisor.supervise", broken)
    assert entry(["gate", "nowhere.yaml", "--out", str(tmp_path)]) == 3
    assert "Nothing was judged" in (tmp_path / "comment.md").read_text()
    # Not even the parser can be imported, and the report cannot be written.
    monkeypatch.setitem(sys.modules, "bench.gate.failure", None)
    assert entry(["gate", "nowhere.yaml", "--out", str(tmp_path)]) == 3
    monkeypatch.setitem(sys.modules, "bench.commands.gate", None)
    assert entry(["gate", "nowhere.yaml"]) == 3


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_runs_with_closed_streams(tmp_path: Path, closed: str) -> None:
    words = [sys.executable, "-m", "bench.cli", "runs", "list", "--runs", str(tmp_path)]
    command = f"exec {shlex.join(words)} {closed}"
    assert subprocess.run(["sh", "-c", command], cwd=ROOT, check=False).returncode == 0


PROGRAM = """
import os, sys
from bench.common.supervisor import supervise
def work():
    {}
sys.exit(supervise(work, "advice"))
"""


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("return 1", 1, ""),
        ("os._exit(1)", 3, "ended itself with code 1"),
        ("sys.exit(1)", 3, "ended itself with code 1"),
        ("os.abort()", 3, "ended by SIGABRT"),
        ("raise ValueError('a bug')", 3, "ValueError: a bug"),
        ("os.kill(os.getpid(), 2); return 0", 130, "stopped by SIGINT"),
        ("os.kill(os.getppid(), 15); import time; time.sleep(600)", 143, "stopped by SIGTERM"),
    ],
)
def test_only_a_sent_exit_code_is_used(body: str, code: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == code, done.stderr
    assert said in done.stderr


def test_a_command_in_a_terminal_sees_it_and_gets_ctrl_c() -> None:
    import pty

    # Many short sleeps: a signal that comes just before one begins does not end it.
    body = (
        "print(sys.stdout.isatty(), flush=True); import time; [time.sleep(0.1) for _ in [0] * 6000]"
    )
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM.format(body)])
    output = b""
    while b"True" not in output:
        output += os.read(terminal, 1024)
    os.write(terminal, b"\x03")
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    os.close(terminal)


def test_a_closed_output_pipe_is_no_regression(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "bench.cli", "runs", "list", "--runs", str(tmp_path)],
        cwd=ROOT,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert done.returncode == 3
    assert done.stderr == "pixvox: the reader of its output closed the pipe\n"
