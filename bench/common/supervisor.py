"""Runs a command's work in a child process, so that a crash does not choose the exit code.

The child sends its exit code over a pipe. Ray and C++ libraries may end the process with codes of
their own (1, 134) without sending one; the command then ends with 3. The parent forwards signals,
kills the remaining processes when the child has ended, and removes the command's temporary folder.
"""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

from bench.common import scratch
from bench.common.processes import below, kill

FAILED = 3
_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LEAVING_SECONDS = 10.0
"""Seconds that a child may take to end after it has sent its code."""

_pipe: int | None = None


@dataclass(frozen=True)
class End:
    """How a command ended: its exit code, and the reason, if it has not been printed yet."""

    code: int
    why: str = ""


def send_result(end: End) -> None:
    """Sends the child's end to its parent; does nothing in a process that is not supervised."""
    if _pipe is not None:
        os.write(_pipe, json.dumps([end.code, end.why]).encode() + b"\n")


def abandon(why: str) -> NoReturn:
    """Ends a supervised command at once, from any thread, with one line and exit code 3."""
    send_result(End(FAILED, why))
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def supervised() -> bool:
    """Returns whether this process is the child of a supervisor."""
    return _pipe is not None


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def supervise(
    work: Callable[[], int],
    advice: str,
    failed: Callable[[str], None] = lambda why: None,
    asking: Collection[signal.Signals] = (signal.SIGINT,),
) -> int:
    """Runs `work` in a child process and returns its exit code.

    Must be called before any thread is started, because it forks. If the child dies, a line with
    the reason and `advice` is printed, and `failed` is called with it. The first signal in `asking`
    is sent to the child as SIGINT, and the child may finish; a second one, or any other signal,
    ends the child at once.
    """
    if sys.platform != "linux":
        return work()
    try:
        scratch.sweep()
        folder = scratch.make()
    except OSError as error:
        print(f"pixvox: no temporary folder: {error}; set TMPDIR", file=sys.stderr)
        return FAILED
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    read, write = os.pipe()
    alive = os.pipe()
    os.set_blocking(read, False)
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    # Signals that the shell has set to be ignored (nohup, &) stay ignored.
    heeded = {stop for stop in _STOPS if signal.getsignal(stop) != signal.SIG_IGN}
    signal.pthread_sigmask(signal.SIG_BLOCK, heeded | {signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        for descriptor in (read, *alive):
            os.close(descriptor)
        try:
            _become_child(parent, write, heeded)
            folder.enter()
            code = work()
            send_result(End(code))
            return code
        except KeyboardInterrupt:
            send_result(End(128 + signal.SIGINT, f"stopped by SIGINT; {advice}"))
            return 128 + signal.SIGINT
    os.close(write)
    if os.fork() == 0:
        _guard(folder, *alive)
    try:
        end = _watch(child, read, heeded, asking, advice=advice)
    finally:
        _end_all()
        folder.remove()
    if end.why:
        show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
        print(f"{show_cursor}pixvox: {end.why}", file=sys.stderr)
        failed(end.why)
    return end.code


def _become_child(parent: int, write: int, heeded: set[signal.Signals]) -> None:
    """Starts a session in the child, so that Ctrl-C in a terminal reaches only the parent.

    Ray's processes must not get it. Signals that are sent to the child are forwarded to the parent.
    """
    global _pipe
    _pipe = write
    os.setsid()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)

    def pass_on(number: int, frame: FrameType | None) -> None:
        os.kill(os.getppid(), number)

    for stop in heeded - {signal.SIGINT}:
        signal.signal(stop, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, heeded | {signal.SIGCHLD})
    # With line buffering, printed lines are not lost if the child is killed.
    reconfigure: Any = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True)


def _guard(folder: scratch.Scratch, read: int, write: int) -> NoReturn:
    """Waits until the parent has ended, and removes its folder and processes if it was killed.

    The kernel kills the child with its parent, but Ray's processes may live on for minutes.
    """
    os.setsid()
    # Closed here, so that the pipe and the lock end with the parent and the child.
    os.close(write)
    os.close(folder.lock)
    os.read(read, 1)
    until = time.monotonic() + _LEAVING_SECONDS
    while folder.path.exists() and time.monotonic() < until:
        scratch.remove_if_dead(folder.path)
        time.sleep(0.02)
    os._exit(0)


def _sent(read: int, before: bytes) -> bytes:
    try:
        return before + os.read(read, 65536)
    except BlockingIOError:
        return before


def _watch(
    child: int,
    read: int,
    heeded: set[signal.Signals],
    asking: Collection[signal.Signals],
    *,
    advice: str,
) -> End:
    """Waits until the child ends or a signal asks for its end."""
    sent, leaving = b"", 0.0
    status: int | None = None
    stop: signal.Signals | None = None
    while status is None and not (leaving and time.monotonic() > leaving):
        signal_info = signal.sigtimedwait(heeded | {signal.SIGCHLD}, 1.0)
        status, sent = _reaped(child), _sent(read, sent)
        if sent:
            leaving = leaving or time.monotonic() + _LEAVING_SECONDS
        elif signal_info is not None and signal_info.si_signo != signal.SIGCHLD:
            before, stop = stop, signal.Signals(signal_info.si_signo)
            if stop not in asking or before is not None:
                break
            if status is None:
                os.kill(child, signal.SIGINT)
    sent = _sent(read, sent)
    if sent:
        end = End(*json.loads(sent.splitlines()[0]))
        # The child gets SIGINT, whichever signal this process got.
        asked = stop is not None and end.code == 128 + signal.SIGINT
        return End(128 + stop, end.why) if stop is not None and asked else end
    if stop is not None:
        return End(128 + stop, f"stopped by {stop.name}; {advice}")
    assert status is not None
    return End(FAILED, f"{_death(status)}; {advice}")


def _reaped(child: int) -> int | None:
    """Returns the child's status, if it has ended; reaps all other ended processes too."""
    status = None
    try:
        while (reaped := os.waitpid(-1, os.WNOHANG))[0]:
            if reaped[0] == child:
                status = reaped[1]
    except ChildProcessError:
        pass
    return status


def _death(status: int) -> str:
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        hint = ", as the kernel does where memory runs out" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"
    code = os.waitstatus_to_exitcode(status)
    return f"its process ended itself with code {code}, as Ray has it do when Ray's own die"


def _end_all() -> None:
    """Kills all processes below this one, for at most 10 s."""
    until = time.monotonic() + _LEAVING_SECONDS
    while time.monotonic() < until:
        for pid in below(os.getpid()):
            kill(pid)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.01)
