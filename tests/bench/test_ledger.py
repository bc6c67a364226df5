"""The ledger: a part is whole or it is not there."""

from pathlib import Path

import polars as pl

from bench.ledger import Ledger

SCHEMA = {"item": pl.String, "cause": pl.String, "value": pl.Int64}


def _rows(*items: str, cause: str = "", value: int = 0) -> pl.DataFrame:
    columns = {"item": items, "cause": [cause] * len(items), "value": [value] * len(items)}
    return pl.DataFrame(columns, schema=SCHEMA)


def test_rows_come_back_once_each(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append("spoken", "cell", _rows("b", "a"))
    ledger.append("spoken", "cell", _rows("a", "c"))
    ledger.append("spoken", "other", _rows("z"))
    assert ledger.rows("spoken", "cell", SCHEMA)["item"].to_list() == ["a", "b", "c"]


def test_a_flipped_byte_costs_its_part_and_no_other(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append("spoken", "cell", _rows("a"))
    (damaged,) = tmp_path.rglob("part-*.parquet")
    ledger.append("spoken", "cell", _rows("b", "c"))
    data = bytearray(damaged.read_bytes())
    data[20] ^= 1
    damaged.write_bytes(data)
    assert ledger.rows("spoken", "cell", SCHEMA)["item"].to_list() == ["b", "c"]
    assert ledger.damaged == [damaged]
    assert not damaged.exists()


def test_an_unfinished_write_is_not_a_part(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append("spoken", "cell", _rows("a"))
    (part,) = tmp_path.rglob("part-*.parquet")
    (part.parent / f".{part.name}.123").write_bytes(part.read_bytes()[:50])
    assert ledger.rows("spoken", "cell", SCHEMA).height == 1


def test_a_machine_s_failure_is_open_until_something_final_replaces_it(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.append("heard", "cell", _rows("a", "b", cause="machine"))
    ledger.append("heard", "cell", _rows("c"))
    assert set(ledger.settled("heard", "cell", SCHEMA)) == {"c"}
    ledger.append("heard", "cell", _rows("a", value=7))
    assert set(ledger.settled("heard", "cell", SCHEMA)) == {"a", "c"}
    rows = ledger.rows("heard", "cell", SCHEMA)
    assert rows["cause"].to_list() == ["", "machine", ""]
    assert rows["value"].to_list() == [7, 0, 0]
