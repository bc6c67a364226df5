"""Facts are cached for the same content, and computed again for any other."""

import os
import tempfile
from pathlib import Path

import pytest

from bench.common import cachefiles
from bench.execution.session import _token
from pixvox import cache
from pixvox.cache import cache_folder, share_cache


def test_facts_are_cached_for_their_content_and_this_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    computed: list[str] = []

    def read_facts(key: str) -> list[object]:
        return list(
            cachefiles.cached_json([key], lambda: computed.append(key) or [len(computed), None])
        )

    assert [read_facts("a"), read_facts("b"), read_facts("a")] == [[1, None], [2, None], [1, None]]
    for path in (tmp_path / "pixvox").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    assert read_facts("a") == [3, None]
    monkeypatch.setattr(cachefiles, "_versions", lambda: ["other code"])
    assert read_facts("a") == [4, None]


def test_an_error_is_not_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ZeroDivisionError):
        cachefiles.cached_json(["a"], lambda: 1 // 0)
    assert cachefiles.cached_json(["a"], lambda: 1) == 1


def test_without_a_home_caches_are_in_the_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "")
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cache._temporary_root.cache_clear()
    folder = cache_folder()
    assert folder.is_relative_to(tmp_path)
    assert cache_folder() == folder
    share_cache()
    assert os.environ["XDG_CACHE_HOME"] == str(folder.parent)
    with _token(tmp_path):
        token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
        assert len(token.read_text()) == 64
        assert token.stat().st_mode & 0o777 == 0o600
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ
    cache._temporary_root.cache_clear()
