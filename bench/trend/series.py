"""Committed figures over all commits, and where they changed.

Reads any JSON file of results: a table's rows by system and score, other figures by their path. A
new stretch begins where the protocol or the machine changes, and stretches are not compared.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from bench.common.errors import UserError
from bench.scoring.signature import POLICIES, read_fields
from bench.tables.published import HEADS
from bench.trend.changepoints import change_points
from bench.trend.history import Version, versions

_ABOUT = ("machine", "processor", "cores", "plan", "runs")
"""Keys that describe how a file's figures were measured."""


@dataclass(frozen=True)
class Point:
    """One version's value; values are compared only if their `protocol` is equal."""

    version: Version
    value: float
    protocol: str


@dataclass(frozen=True)
class Change:
    """The version at which a new level begins, and the levels before and after it."""

    version: Version
    before: float
    after: float


@dataclass(frozen=True)
class Series:
    """One figure over all versions, and where it changed."""

    name: str
    points: tuple[Point, ...]

    @property
    def stretches(self) -> list[list[Point]]:
        """Runs of consecutive points of the same protocol."""
        runs = groupby(self.points, key=lambda point: point.protocol)
        return [list(points) for _, points in runs]

    @property
    def changes(self) -> list[Change]:
        """All changes of level within the stretches."""
        changes: list[Change] = []
        for points in self.stretches:
            values = [point.value for point in points]
            at = change_points(values)
            edges = [0, *at, len(values)]
            levels = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
            for number, index in enumerate(at):
                changes.append(Change(points[index].version, levels[number], levels[number + 1]))
        return changes


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, float]]:
    """Yields the measured scores of a comparison table: name, protocol, value."""
    for row in rows:
        if row["block"] != "measured" or not row["signature"]:
            continue
        fields = read_fields(row["signature"])
        protocol = "|".join(
            fields.get(name, "") for name, policy in POLICIES.items() if policy.stretch
        )
        for score in HEADS:
            if row.get(score) is not None:
                yield f"{row['system']} at {row['prompt'] or 0:.0%} / {score}", protocol, row[score]


def _figures(data: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, float]]:
    """Yields all numbers of a JSON file by their path; a list's entry is named by its texts."""
    if isinstance(data, bool) or data is None or isinstance(data, str):
        return
    if isinstance(data, int | float):
        yield " / ".join(place), float(data)
    elif isinstance(data, Mapping):
        for key, value in data.items():
            if place or key not in _ABOUT:
                yield from _figures(value, (*place, str(key)))
    else:
        used_names: set[str] = set()
        for number, value in enumerate(data):
            texts = [v for v in value.values() if isinstance(v, str)] if _is_row(value) else []
            name = ", ".join(texts)
            # Rows of the same name get their number in the list.
            name = f"{name} {number}".strip() if not name or name in used_names else name
            used_names.add(name)
            yield from _figures(value, (*place, name))


def _is_row(value: Any) -> bool:
    return isinstance(value, Mapping)


def _read(version: Version, path: Path) -> list[tuple[str, str, float]]:
    try:
        data = json.loads(version.text)
    except json.JSONDecodeError as error:
        raise UserError(f"{path} at {version.revision}: not JSON ({error.msg})") from error
    rows = data if isinstance(data, list) else []
    if rows and all(_is_row(row) and "signature" in row for row in rows):
        return list(_table(rows))
    about = data if isinstance(data, Mapping) else {}
    protocol = json.dumps({k: about[k] for k in _ABOUT if k in about}, sort_keys=True)
    return [(name, protocol, value) for name, value in _figures(data)]


def series_of(path: Path, only: str = "") -> list[Series]:
    """Returns every figure whose name contains `only`, over all commits of a file.

    Raises UserError for a file without commits, one that is no JSON, or where no name fits.
    """
    lines: dict[str, list[Point]] = {}
    for version in versions(path):
        for name, protocol, value in _read(version, path):
            if only.lower() in name.lower():
                lines.setdefault(name, []).append(Point(version, value, protocol))
    if not lines:
        raise UserError(f"{path}: no figure has {only!r} in its name; leave out --only to see all")
    return [Series(name, tuple(line)) for name, line in lines.items()]
