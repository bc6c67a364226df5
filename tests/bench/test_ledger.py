"""The ledger: a part is complete or does not exist."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bench.common.atomic import parquet
from bench.common.errors import RunFailed, UserError
from bench.store.ledger import Ledger, Part, read_part

SCHEMA = {"item": pl.String, "cause": pl.String, "value": pl.Int64}


def _rows(*items: str, cause: str = "", value: int = 0) -> pl.DataFrame:
    columns = {"item": items, "cause": [cause] * len(items), "value": [value] * len(items)}
    return pl.DataFrame(columns, schema=SCHEMA)


def test_each_row_is_read_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append("generated", "cell", _rows("b", "a"))
    ledger.append("generated", "cell", _rows("a", "c"))
    ledger.append("generated", "other", _rows("z"))
    assert ledger.rows("generated", "cell", SCHEMA)["item"].to_list() == ["a", "b", "c"]


def test_a_flipped_byte_damages_only_its_part(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append("generated", "cell", _rows("a"))
    (damaged,) = tmp_path.rglob("part-*.parquet")
    ledger.append("generated", "cell", _rows("b", "c"))
    data = bytearray(damaged.read_bytes())
    data[20] ^= 1
    damaged.write_bytes(data)
    assert ledger.rows("generated", "cell", SCHEMA)["item"].to_list() == ["b", "c"]
    # Reading changes nothing; only a driver sets a damaged part aside.
    assert list(ledger.damaged) == [damaged]
    assert damaged.exists()
    ledger.set_aside()
    assert not damaged.exists()
    assert damaged.with_suffix(".damaged").read_bytes() == bytes(data)


def test_an_unfinished_write_is_not_a_part(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append("generated", "cell", _rows("a"))
    (part,) = tmp_path.rglob("part-*.parquet")
    (part.parent / f".{part.name}.123").write_bytes(part.read_bytes()[:50])
    assert ledger.rows("generated", "cell", SCHEMA).height == 1


def test_a_final_row_replaces_a_machine_s_failure(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append("transcribed", "cell", _rows("a", "b", cause="machine"))
    ledger.append("transcribed", "cell", _rows("c"))
    assert set(ledger.final("transcribed", "cell", SCHEMA)) == {"c"}
    ledger.append("transcribed", "cell", _rows("a", value=7))
    assert set(ledger.final("transcribed", "cell", SCHEMA)) == {"a", "c"}
    rows = ledger.rows("transcribed", "cell", SCHEMA)
    assert rows["cause"].to_list() == ["", "machine", ""]
    assert rows["value"].to_list() == [7, 0, 0]


def _named(folder: Path, data: bytes) -> Path:
    """Bytes under the name that promises them."""
    path = folder / f"part-{hashlib.sha256(data).hexdigest()[:32]}.parquet"
    path.write_bytes(data)
    return path


def test_a_part_that_was_copied_under_another_key_is_damaged(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append("generated", "cell", _rows("a"))
    shutil.copytree(tmp_path / "generated" / "cell", tmp_path / "generated" / "other")
    shutil.copytree(tmp_path / "generated", tmp_path / "transcribed")
    assert ledger.rows("generated", "cell", SCHEMA).height == 1
    assert ledger.rows("generated", "other", SCHEMA).is_empty()
    assert ledger.rows("transcribed", "cell", SCHEMA).is_empty()
    assert set(ledger.damaged.values()) == {"belongs to generated/cell"}


def _fifo(folder: Path) -> Path:
    path = folder / f"part-{'0' * 32}.parquet"
    os.mkfifo(path)
    return path


def _folder(folder: Path) -> Path:
    path = folder / f"part-{'0' * 32}.parquet"
    path.mkdir()
    return path


@pytest.mark.parametrize(
    "spoil",
    [
        lambda f: _named(f, b""),
        lambda f: _named(f, b"garbage"),
        lambda f: _named(f, b"PAR1 and nothing else PAR1"),
        lambda f: _named(f, parquet(_rows("z"))),
        _fifo,
        _folder,
    ],
    ids=["empty", "garbage", "magic", "unbound", "fifo", "folder"],
)
def test_a_file_that_only_has_a_part_s_name_is_damaged(
    tmp_path: Path, spoil: Callable[[Path], Path]
) -> None:
    ledger = Ledger(tmp_path)
    ledger.append("generated", "cell", _rows("a"))
    spoilt = spoil(tmp_path / "generated" / "cell")
    (tmp_path / "generated" / "cell" / "part-x.parquet").mkdir()
    (tmp_path / "generated" / "cell" / ".DS_Store").write_bytes(b"x")
    assert ledger.rows("generated", "cell", SCHEMA)["item"].to_list() == ["a"]
    assert list(ledger.damaged) == [spoilt]
    ledger.set_aside()
    assert not spoilt.exists()


def test_a_driver_commits_nothing_after_its_ledger_was_moved(tmp_path: Path) -> None:
    first, second = Ledger(tmp_path / "ledger"), Ledger(tmp_path / "ledger")
    with first.lock():
        first.append("generated", "cell", _rows("a"))
        (tmp_path / "ledger").rename(tmp_path / "elsewhere")
        with second.lock():
            second.append("generated", "cell", _rows("b"))
            with pytest.raises(RunFailed, match="moved or deleted"):
                first.append("generated", "cell", _rows("c"))
    assert second.rows("generated", "cell", SCHEMA)["item"].to_list() == ["b"]


def test_deleting_files_does_not_release_the_lock(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with ledger.lock():
        ledger.append("generated", "cell", _rows("a"))
        for path in tmp_path.rglob("*"):
            if path.is_file():
                path.unlink()
        with pytest.raises(UserError, match="another pixvox"), Ledger(tmp_path).lock():
            pass


def _names(count: int) -> list[str]:
    return [f"item-{number:05}" for number in range(count)]


def test_small_parts_are_joined_and_no_row_is_lost(tmp_path: Path) -> None:
    names, ledger = _names(6000), Ledger(tmp_path)
    most = 0
    with ledger.lock():
        for start in range(0, 6000, 8):
            cause = "machine" if start % 3 == 0 else ""
            ledger.append("generated", "cell", _rows(*names[start : start + 8], cause=cause))
            most = max(most, len(ledger.names("generated", "cell")))
        assert most <= 64 + 8
    heights = [part.height for part in ledger.parts("generated", "cell", SCHEMA)]
    assert sum(heights) == 6000
    assert max(heights) == 4096
    rows = Ledger(tmp_path).rows("generated", "cell", SCHEMA)
    assert rows["item"].to_list() == names
    machines = {name for start in range(0, 6000, 24) for name in names[start : start + 8]}
    assert set(rows.filter(cause="machine")["item"]) == machines
    # What an earlier driver left in pieces is joined by the next one's first commit.
    second = Ledger(tmp_path)
    with second.lock():
        for start in range(6000, 6500, 8):
            Ledger(tmp_path).append("generated", "cell", _rows(f"x{start}"))
        assert len(set(second.final("generated", "cell", SCHEMA))) == 6000 - len(machines) + 63
        second.append("generated", "cell", _rows("last"))
    assert len(ledger.names("generated", "cell")) < 10
    assert Ledger(tmp_path).rows("generated", "cell", SCHEMA).height == 6064


@pytest.mark.parametrize("height", [96, 1000])
def test_a_part_is_read_at_most_once_to_be_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, height: int
) -> None:
    read: list[Path] = []

    def reading(path: Path, *rest: Any) -> Part | None:
        read.append(path)
        return read_part(path, *rest)

    monkeypatch.setattr("bench.store.ledger.read_part", reading)
    ledger, names = Ledger(tmp_path), _names(45_000)
    with ledger.lock():
        for start in range(0, len(names), height):
            ledger.append("generated", "cell", _rows(*names[start : start + height]))
    assert len(set(read)) == len(read) < len(names) / 512
    heights = [part.height for part in ledger.parts("generated", "cell", SCHEMA)]
    assert len(heights) < 64 + 8 + len(names) / 2048
    assert sum(height for height in heights if height >= 2048) > len(names) / 2


def test_a_reader_misses_no_row_while_parts_are_joined(tmp_path: Path) -> None:
    names, driver, reader = _names(64), Ledger(tmp_path), Ledger(tmp_path)
    with driver.lock():
        for name in names[:63]:
            driver.append("generated", "cell", _rows(name))
        parts = reader.parts("generated", "cell", SCHEMA)
        read_items = [next(parts)["item"][0]]
        driver.append("generated", "cell", _rows(names[63]))
        assert len(driver.names("generated", "cell")) == 1
        read_items += [item for part in parts for item in part["item"]]
    assert set(read_items) == set(names)


def test_interrupted_joining_duplicates_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, driver = _names(64), Ledger(tmp_path)

    def killed(path: Path, missing_ok: bool = False) -> None:
        raise KeyboardInterrupt

    with driver.lock():
        for name in names[:63]:
            driver.append("generated", "cell", _rows(name))
        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", killed)
            with pytest.raises(KeyboardInterrupt):
                driver.append("generated", "cell", _rows(names[63]))
    assert len(driver.names("generated", "cell")) == 65
    assert Ledger(tmp_path).rows("generated", "cell", SCHEMA)["item"].to_list() == names


@pytest.mark.parametrize("remembered", [True, False])
def test_a_part_damaged_during_the_run_is_rewritten_or_reported(
    tmp_path: Path, remembered: bool
) -> None:
    names, driver = _names(130), Ledger(tmp_path)
    with driver.lock():
        driver.append("generated", "cell", _rows(names[0]))
    if not remembered:
        driver = Ledger(tmp_path)
        assert list(driver.final("generated", "cell", SCHEMA)) == names[:1]
    (damaged,) = driver.names("generated", "cell")
    damaged.write_bytes(b"PAR1")
    with driver.lock():
        for name in names[1:]:
            driver.append("generated", "cell", _rows(name))
        assert len(driver.names("generated", "cell")) < 10
    reader = Ledger(tmp_path)
    remaining = names if remembered else names[1:]
    assert reader.rows("generated", "cell", SCHEMA)["item"].to_list() == remaining
    assert list(reader.damaged) == ([] if remembered else [damaged])
