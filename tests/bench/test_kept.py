"""What was found out is kept for the same content, and found again for any other."""

from pathlib import Path

import pytest

from bench.common import kept


def test_a_look_is_kept_for_its_content_and_this_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made: list[str] = []

    def seen(of: str) -> list[object]:
        return list(kept.look([of], lambda: made.append(of) or [len(made), None]))

    assert [seen("a"), seen("b"), seen("a")] == [[1, None], [2, None], [1, None]]
    for path in (tmp_path / "pixvox").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    assert seen("a") == [3, None]
    monkeypatch.setattr(kept, "_ours", lambda: ["other code"])
    assert seen("a") == [4, None]


def test_what_is_refused_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ZeroDivisionError):
        kept.look(["a"], lambda: 1 // 0)
    assert kept.look(["a"], lambda: 1) == 1
