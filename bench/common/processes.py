"""What /proc says of processes: who is below whom, what state one is in, what marks it."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def _fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name: state, parent, ...; none where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


def everyone() -> Iterator[int]:
    """All process ids."""
    for folder in Path("/proc").glob("[0-9]*"):
        yield int(folder.name)


def arguments(pid: int) -> list[str]:
    """The words of a process's command line; none where it is gone."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return command.decode(errors="replace").split("\0")


def state(pid: int) -> str:
    """One letter: R, S, D, T (stopped), ...; "" for a process that is dead, reaped or not."""
    fields = _fields(pid)
    return fields[0] if fields and fields[0] not in "ZX" else ""


def below(pid: int) -> dict[int, str]:
    """Returns the commands of all processes below a process, by their ids, zombies included."""
    parents: dict[int, list[int]] = {}
    for child in everyone():
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
    """The child that a process has had longest, if it has any."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return None
    return int(children[0]) if children else None


def marked(name: str, value: str) -> list[int]:
    """The living processes that were started with `name=value` in their environment."""
    wanted = f"{name}={value}".encode()
    pids = []
    for pid in everyone():
        with suppress(OSError):
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            if wanted in environment.split(b"\0") and state(pid):
                pids.append(pid)
    return pids


def writers(folder: Path, but: str) -> list[int]:
    """The living processes that have a file below the folder open for writing, other than `but`."""
    inside = f"{folder.resolve()}/"
    return [pid for pid in everyone() if _writes(pid, inside, f"{inside}{but}") and state(pid)]


def _writes(pid: int, inside: str, spared: str) -> bool:
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    for descriptor in descriptors:
        with suppress(OSError):
            file = str(descriptor.readlink())
            if file.startswith(inside) and file != spared:
                fdinfo = Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text()
                flags = int(fdinfo.split("flags:")[1].split()[0], 8)
                if flags & os.O_ACCMODE != os.O_RDONLY:
                    return True
    return False


def kill(pid: int) -> None:
    """Ends a process that may be gone already, a stopped one too."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
