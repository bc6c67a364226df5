"""Users' units that are not the codec's give a failed row or one line."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from bench.common.bounds import MAX_SPEECH_SECONDS
from bench.common.errors import UserError
from bench.datasets.base import Caption, Item
from bench.systems.base import Variant
from bench.systems.silence import SilenceSystem
from bench.systems.units import UnitsGenerator, UnitsSystem, read_units

ITEM = Item("a", Path("a.jpg"), (Caption("a dog"),))
VARIANT = Variant("key", 0.0, SilenceSystem(kind="silence"))
GOOD = [[1, 2, 3]] * 4


def _units(path: Path) -> UnitsSystem:
    codec = {"codec": "zoo:encodec-tiny", "bandwidth": 1.6}
    return UnitsSystem(kind="units", label="u", file=path, **codec)


@pytest.mark.parametrize(
    ("units", "reason"),
    [
        (GOOD, ""),
        ([[-(2**63)] * 3] * 4, "units from -9223372036854775808 to"),
        ([[2**63 - 1] * 3] * 4, "to 9223372036854775807; this codec's run from 0 to 255"),
        ([[40_000] * 3] * 4, "to 40000; this codec's"),
        ([[256] * 3] * 4, "to 256; this codec's"),
        ([[-1] * 3] * 4, "units from -1"),
        ([[1, 2], [1], [1, 2], [1, 2]], "lists of 1 to 2 units"),
        ([[1.5, 2.0]] * 4, "a unit is 1.5, but units are whole numbers"),
        ([[float("nan")]] * 4, "a unit is nan"),
        ([[None, 1]] * 4, "a unit is None"),
        ([[True, False]] * 4, "a unit is True"),
        ([["1", "2"]] * 4, "a unit is 1"),
        ([None, [1], [1], [1]], "not K lists"),
        ([[1, 2, 3]] * 3, "3 lists of units; this codec has 4"),
        ([[]] * 4, "no units at all"),
        ([], "0 lists of units"),
        ([1, 2, 3], "not K lists"),
        ([[1] * (50 * int(MAX_SPEECH_SECONDS) + 1)] * 4, "1501 frames are 30.0 s"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_units_are_checked_as_they_are_read(tmp_path: Path, units: Any, reason: str) -> None:
    pl.DataFrame({"item": ["a"], "units": [units]}).write_parquet(tmp_path / "u.parquet")
    row = UnitsGenerator(_units(tmp_path / "u.parquet")).generate([(ITEM, (VARIANT,))])[0][1]
    assert row.status == ("failed" if reason else "ok")
    assert reason in row.reason
    if not reason:
        assert row.array.tolist() == units


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ({"item": [1], "units": [GOOD]}, "item is Int64"),
        ({"item": ["a"], "units": ["1 2 3"]}, "units are String"),
        ({"item": ["a"], "codes": [GOOD]}, "not a Parquet file of item and units"),
        ({"item": ["a", "a"], "units": [GOOD, GOOD]}, "a occurs twice"),
    ],
)
def test_a_file_that_holds_no_units_gives_one_line(
    tmp_path: Path, table: dict[str, Any], reason: str
) -> None:
    pl.DataFrame(table).write_parquet(tmp_path / "u.parquet")
    with pytest.raises(UserError, match=reason):
        read_units(_units(tmp_path / "u.parquet"))


def test_a_damaged_file_of_units_gives_one_line(tmp_path: Path) -> None:
    path = tmp_path / "u.parquet"
    pl.DataFrame({"item": ["a"], "units": [GOOD]}).write_parquet(path)
    whole = path.read_bytes()
    for data in (b"", b"PAR1", whole[:-20], whole[:40] + bytes(40) + whole[80:], b"\xff" * 500):
        path.write_bytes(data)
        with pytest.raises(UserError) as caught:
            read_units(_units(path))
        assert "\n" not in str(caught.value)
