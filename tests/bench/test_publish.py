"""A finished run is copied to another place, and an interrupted copy is continued."""

from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from bench.common.errors import RunFailed, UserError
from bench.store import publish as publishing
from bench.store.publish import LISTING, check_address, publish


def _silent(what: str, done: int, total: int) -> None:
    """Reports nothing."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder: two results, speech, and what is its own business."""
    folder = tmp_path / "demo"
    for name in ("summary.json", "tables/a.md", "speech/x-0-1/1.wav", "ledger/p", "cache/c"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "tables/.0.1.part").touch()
    return folder


COPIED = {"summary.json", "tables/a.md", "speech/x-0-1/1.wav"}


@pytest.mark.parametrize("protocol", ["memory://bucket", "file://"])
def test_only_missing_files_are_copied(run: Path, tmp_path: Path, protocol: str) -> None:
    address = f"{protocol}{tmp_path}/there"
    system, place = fsspec.url_to_fs(f"{address}/demo")
    assert publish(run, address, _silent) == 3
    names = {name.removeprefix(f"{place}/") for name in system.find(place)}
    assert names == {*COPIED, LISTING}
    assert system.cat_file(f"{place}/tables/a.md") == b"tables/a.md"
    assert publish(run, address, _silent) == 0
    # Of the same size, but another content; and one that was cut short.
    (run / "tables/a.md").write_text("tables/b.md")
    system.pipe_file(f"{place}/summary.json", b"{")
    assert publish(run, address, _silent) == 2
    assert system.cat_file(f"{place}/tables/a.md") == b"tables/b.md"
    assert system.cat_file(f"{place}/summary.json") == b"summary.json"


def test_a_copy_that_fails_is_tried_again_and_continued(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "_LIST_EVERY", 1)
    faults = [0, 2, 99]
    real = MemoryFileSystem.put_file
    waited: list[float] = []
    written: list[str] = []

    def failing(self: Any, source: str, target: str, **how: Any) -> None:
        if faults[0]:
            faults[0] -= 1
            raise ConnectionResetError("by peer")
        faults.pop(0)
        written.append(target)
        real(self, source, target, **how)

    monkeypatch.setattr(MemoryFileSystem, "put_file", failing)
    with pytest.raises(RunFailed, match=r"^memory://faults/demo: not published \(.*by peer\); the"):
        publish(run, "memory://faults", _silent, waited.append)
    assert waited == [1.0, 4.0, 1.0, 4.0, 15.0, 60.0]
    monkeypatch.setattr(MemoryFileSystem, "put_file", real)
    assert publish(run, "memory://faults/", _silent) == len(COPIED) - len(written) == 1


def test_a_missing_bucket_is_not_created(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bucket(MemoryFileSystem):
        protocol = ("s3", "s3a")

        def makedirs(self, path: str, exist_ok: bool = False) -> None:
            raise AssertionError(path)

        def put_file(self, source: str, target: str, **how: Any) -> None:
            # As s3fs, which makes no folders here.
            self.pipe_file(target, Path(source).read_bytes())

    monkeypatch.setattr(publishing, "_opened", lambda address: (Bucket(), "/bucket/runs"))
    assert publish(run, "s3://bucket/runs", _silent) == len(COPIED)


def test_an_invalid_address_gives_one_line_before_the_run() -> None:
    with pytest.raises(UserError, match=r"^--publish: nowhere://x: .*; name a folder, or an add"):
        check_address("nowhere://x")
