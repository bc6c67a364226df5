"""Reads /proc: children, states, environments and open files of processes."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def _fields(pid: int) -> list[str]:
    """Returns the fields of /proc/PID/stat after the name: state, parent, ...; [] if it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


def process_ids() -> Iterator[int]:
    """Yields the ids of all processes."""
    for folder in Path("/proc").glob("[0-9]*"):
        yield int(folder.name)


def arguments(pid: int) -> list[str]:
    """Returns the arguments of a process's command line; [] if the process has ended."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return command.decode(errors="replace").split("\0")


def state(pid: int) -> str:
    """Returns a process's state: R, S, D, T (stopped), ...; "" if it has ended."""
    fields = _fields(pid)
    return fields[0] if fields and fields[0] not in "ZX" else ""


def below(pid: int) -> dict[int, str]:
    """Returns the commands of all processes below a process, by their ids, zombies included."""
    parents: dict[int, list[int]] = {}
    for child in process_ids():
        fields = _fields(child)
        if fields:
            parents.setdefault(int(fields[1]), []).append(child)
    commands: dict[int, str] = {}
    stack = [pid]
    while stack:
        for child in parents.get(stack.pop(), []):
            with suppress(OSError):
                command = Path(f"/proc/{child}/cmdline").read_bytes()
                commands[child] = command.split(b"\0")[0].decode(errors="replace")
                stack.append(child)
    return commands


def first_child(pid: int) -> int | None:
    """Returns the oldest child of a process; None if it has none."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


def pids_with_variable(name: str, value: str) -> list[int]:
    """Returns the living processes that were started with `name=value` in their environment."""
    wanted = f"{name}={value}".encode()
    pids = []
    for pid in process_ids():
        with suppress(OSError):
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            if wanted in environment.split(b"\0") and state(pid):
                pids.append(pid)
    return pids


def writers(folder: Path, but: str) -> list[int]:
    """Returns the living processes with an open file below a folder, for writing, except `but`."""
    inside = f"{folder.resolve()}/"
    return [pid for pid in process_ids() if _writes(pid, inside, f"{inside}{but}") and state(pid)]


def _writes(pid: int, inside: str, ignored: str) -> bool:
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    for descriptor in descriptors:
        with suppress(OSError):
            file = str(descriptor.readlink())
            if file.startswith(inside) and file != ignored:
                fdinfo = Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text()
                flags = int(fdinfo.split("flags:")[1].split()[0], 8)
                if flags & os.O_ACCMODE != os.O_RDONLY:
                    return True
    return False


def kill(pid: int) -> None:
    """Kills a process, also a stopped one; does nothing if it has ended."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
