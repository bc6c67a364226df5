"""Digests of large folders are cached, and a cached digest is never another file's."""

import hashlib
import os
from pathlib import Path

import pytest

from bench.common.filedigests import MISSING, cache_folder, file_digests

OLD, NEWER = 1_600_000_000_000_000_000, 1_600_000_000_000_000_001


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    return _written(tmp_path / "data" / "a.jpg", b"one", OLD)


def _written(path: Path, data: bytes, changed: int) -> Path:
    path.write_bytes(data)
    os.utime(path, ns=(changed, changed))
    return path


def _digest(path: Path, large: int = 0) -> bytes:
    return file_digests([path], large)[path]


def _of(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def test_a_file_with_the_same_path_size_and_time_is_not_read_again(file: Path) -> None:
    assert _digest(file) == _of(b"one")
    assert _digest(_written(file, b"two", OLD)) == _of(b"one")
    assert _digest(_written(file, b"two", NEWER)) == _of(b"two")
    assert _digest(_written(file, b"three", NEWER)) == _of(b"three")
    file.unlink()
    assert _digest(file) == MISSING


def test_a_file_that_has_just_changed_is_read_again(file: Path) -> None:
    file.write_bytes(b"one")
    changed = file.stat().st_mtime_ns
    assert _digest(file) == _of(b"one")
    assert _digest(_written(file, b"two", changed)) == _of(b"two")


def test_a_damaged_cache_is_ignored(file: Path) -> None:
    _digest(file)
    (cache_file,) = cache_folder().iterdir()
    whole = cache_file.read_bytes()
    wrong = whole.replace(_of(b"one").hex().encode(), _of(b"two").hex().encode())
    for damaged in (wrong, whole[:-5], b"", b"{}", b"\xff\n[]"):
        cache_file.write_bytes(damaged)
        assert _digest(file) == _of(b"one")
    assert cache_file.read_bytes() == whole


def test_digests_of_small_folders_are_not_cached(file: Path) -> None:
    _digest(file, large=4)
    assert not cache_folder().exists()


def test_a_cache_that_cannot_be_written_is_no_error(file: Path) -> None:
    cache_folder().parent.write_bytes(b"in the way")
    assert _digest(file) == _of(b"one")
