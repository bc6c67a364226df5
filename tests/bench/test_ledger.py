"""The ledger: a part is whole or it is not there."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from bench.common.atomic import parquet
from bench.common.errors import RunFailed, UserError
from bench.store.ledger import Ledger

SCHEMA = {"item": pl.String, "cause": pl.String, "value": pl.Int64}


def _rows(*items: str, cause: str = "", value: int = 0) -> pl.DataFrame:
    columns = {"item": items, "cause": [cause] * len(items), "value": [value] * len(items)}
    return pl.DataFrame(columns, schema=SCHEMA)


def test_rows_come_back_once_each(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append("generated", "cell", _rows("b", "a"))
    ledger.append("generated", "cell", _rows("a", "c"))
    ledger.append("generated", "other", _rows("z"))
    assert ledger.rows("generated", "cell", SCHEMA)["item"].to_list() == ["a", "b", "c"]


def test_a_flipped_byte_costs_its_part_and_no_other(tmp_path: Path) -> None:
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


def test_a_machine_s_failure_is_open_until_something_final_replaces_it(tmp_path: Path) -> None:
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
def test_what_only_has_a_part_s_name_is_damaged(
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


def test_a_driver_whose_ledger_was_moved_away_commits_nothing_more(tmp_path: Path) -> None:
    first, second = Ledger(tmp_path / "ledger"), Ledger(tmp_path / "ledger")
    with first.lock():
        first.append("generated", "cell", _rows("a"))
        (tmp_path / "ledger").rename(tmp_path / "elsewhere")
        with second.lock():
            second.append("generated", "cell", _rows("b"))
            with pytest.raises(RunFailed, match="moved or deleted"):
                first.append("generated", "cell", _rows("c"))
    assert second.rows("generated", "cell", SCHEMA)["item"].to_list() == ["b"]


def test_no_file_can_be_deleted_to_let_a_second_driver_in(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with ledger.lock():
        ledger.append("generated", "cell", _rows("a"))
        for path in tmp_path.rglob("*"):
            if path.is_file():
                path.unlink()
        with pytest.raises(UserError, match="another pixvox"), Ledger(tmp_path).lock():
            pass
