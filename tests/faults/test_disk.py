"""A full or read-only disk gives one line, exit code 3, and no partial file."""

import errno
import fcntl
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml

from bench.cli import main
from bench.common.atomic import (
    disk_errors,
    naming,
    partial_of,
    sweep_partials,
    write_bytes,
)
from bench.common.errors import RunFailed, UserError
from bench.common.streams import Output
from pixvox.cache import cache_folder
from pixvox.training.checkpoint import save_state


@contextmanager
def _room_for(size: int) -> Iterator[None]:
    """Every file beyond so many bytes fails to be written, as on a full disk."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 120)
    write_bytes(path, b"whole")
    with _room_for(100), pytest.raises(RunFailed, match="make room"), disk_errors(tmp_path):
        write_bytes(path, b"x" * 1000)
    with _room_for(100), pytest.raises(RunFailed, match="make room"), disk_errors(tmp_path):
        save_state(tmp_path / "state.pt", {"weights": torch.zeros(1000)})
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"whole"


def test_a_full_device_and_a_read_only_one_are_named(tmp_path: Path) -> None:
    full = open("/dev/full", "wb", buffering=0)  # noqa: PTH123, SIM115
    with full, pytest.raises(RunFailed, match="disk full"), disk_errors(tmp_path):
        full.write(b"x")
    with pytest.raises(UserError, match="Is a directory"), disk_errors(tmp_path):
        write_bytes(tmp_path, b"x")


def test_the_full_folder_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cached = cache_folder() / "weights"
    reason = rf"^{cache_folder()}: .*, or set XDG_CACHE_HOME to another folder, then run"
    with _room_for(100), pytest.raises(RunFailed, match=reason), disk_errors(tmp_path / "runs"):
        write_bytes(cached, b"x" * 1000)
    assert not list(cache_folder().iterdir())
    partial = str(partial_of(tmp_path / "run.json"))
    reason = f"^{tmp_path}: no permission"
    with pytest.raises(RunFailed, match=reason), disk_errors(Path("runs")), naming(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied", partial)
    command = [*_job(tmp_path), "--dry-run"]
    with open("/dev/full", "w", buffering=1) as full, monkeypatch.context() as patch:  # noqa: PTH123
        patch.setattr("sys.stdout", Output(full))
        assert main(command) == 3
    assert "pixvox: standard output: disk full; make room" in capsys.readouterr().err
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(command) == 2
    assert "the current folder was removed; change to one" in capsys.readouterr().err


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    with (
        pytest.raises(UserError, match=r"/results: Not a directory; move it away"),
        disk_errors(tmp_path),
    ):
        write_bytes(tmp_path / "results" / "runs" / "case" / "run.json", b"x")


def test_partial_files_of_killed_writers_are_removed(tmp_path: Path) -> None:
    left, held, theirs = (tmp_path / "a" / name for name in (f".{16 * '0'}.1.part", "b", "c.part"))
    held = partial_of(held)
    for path in (left, held, theirs):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    with held.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        sweep_partials(tmp_path)
    assert sorted(tmp_path.rglob("*.part")) == sorted([held, theirs])


def test_writing_to_a_link_replaces_it(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "ours").symlink_to(tmp_path / "theirs")
    write_bytes(tmp_path / "ours", b"ours", durable=True)
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert (tmp_path / "ours").read_bytes() == b"ours"


def _job(tmp_path: Path) -> list[str]:
    job = {"name": "full", "dataset": {"name": "scenes"}, "limit": 3}
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(job | {"systems": [{"kind": "text"}]}))
    return ["run", str(path), "--runs", str(tmp_path / "runs")]


def test_a_run_on_a_full_disk_gives_one_line_and_can_be_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = _job(tmp_path)
    with _room_for(100):
        assert main(command) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "make room, or raise the limit, then run the same command again" in error
    assert not [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    # Room for the ledger, and none for the largest of what is derived.
    with _room_for(8000):
        assert main(command) == 3
    capsys.readouterr()
    assert main(command) == 0
    assert "3 of 3 rows already there" in capsys.readouterr().out


READ_ONLY = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
flags, folder = (1 << 17) | (1 << 28), sys.argv.pop(1).encode()  # CLONE_NEWNS | CLONE_NEWUSER
if libc.unshare(flags) or libc.mount(b"none", b"/", None, 16384 | (1 << 18), None):
    sys.exit(77)
if libc.mount(folder, folder, None, 4096, None):  # MS_BIND, then MS_REMOUNT | MS_RDONLY
    sys.exit(77)
if libc.mount(folder, folder, None, 4096 | 32 | 1, None):
    sys.exit(77)
from bench.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_run_on_a_read_only_file_system_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, str(tmp_path / "runs"), *_job(tmp_path)],
        capture_output=True,
        text=True,
        env=os.environ,
    )
    if done.returncode == 77:
        pytest.skip("this kernel gives users no namespaces of their own")
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("\n") == 1
    assert "read-only file system; make it writable" in done.stderr
