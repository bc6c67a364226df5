"""Names of patterns: five names, and lists of delays with one for each codebook.

It is separate from the layouts, so that a job file is read without PyTorch.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

PATTERN_NAMES = ("parallel", "delay", "partial-delay", "flatten", "coarse-first")
MOST_CODEBOOKS = 64
LONGEST_DELAY = 999
"""Frames; a longer delay is probably an error."""

_LISTED = re.compile(r"delays((?:-[0-9]{1,3}){1,64})")


def pattern_name(pattern: str | Mapping[str, Any]) -> str:
    """Returns the unique name of a pattern, such as `delays-0-1-2-4` for `{"delays": [0, 1, 2,
    4]}`.

    Raises ValueError for an unknown name or invalid delays.
    """
    if isinstance(pattern, str):
        if pattern in PATTERN_NAMES:
            return pattern
        if listed := _LISTED.fullmatch(pattern):
            return _listed([int(number) for number in listed[1].split("-")[1:]])
        raise ValueError(f"unknown pattern {pattern[:40]!r}; {_choices()}")
    if not isinstance(pattern, Mapping) or set(pattern) != {"delays"}:
        raise ValueError(f"{str(pattern)[:40]} is no pattern; {_choices()}")
    return _listed(pattern["delays"])


def _choices() -> str:
    return f"choose one of {', '.join(PATTERN_NAMES)}, or give {{delays: [0, 1, 2, 4]}}"


def _listed(delays: Any) -> str:
    if not isinstance(delays, Sequence) or isinstance(delays, str):
        # Not a TypeError, because pydantic formats only ValueErrors in one line.
        raise ValueError(f"delays: {str(delays)[:40]!r} is no list; give one for each codebook")  # noqa: TRY004
    for number, delay in enumerate(delays):
        if isinstance(delay, bool) or not isinstance(delay, int) or not 0 <= delay <= LONGEST_DELAY:
            raise ValueError(
                f"delays[{number}]: {str(delay)[:40]} is no whole number from 0 to {LONGEST_DELAY}"
            )
    if not 1 <= len(delays) <= MOST_CODEBOOKS:
        raise ValueError(f"delays: {len(delays)} of them; give 1 to {MOST_CODEBOOKS}")
    if delays[0]:
        raise ValueError(
            f"delays: the first is {delays[0]} and must be 0: the first codebook leads, and ends "
            "the speech"
        )
    return "-".join(["delays", *map(str, delays)])


def delays_of(name: str, codebooks: int) -> tuple[int, ...] | None:
    """Returns how many frames each codebook lags, or None for a pattern without delays."""
    match name:
        case "parallel":
            return (0,) * codebooks
        case "delay":
            return tuple(range(codebooks))
        case "partial-delay":
            return (0, *(1,) * (codebooks - 1))
        case "flatten" | "coarse-first":
            return None
    delays = tuple(int(number) for number in name.split("-")[1:])
    if len(delays) != codebooks:
        raise ValueError(
            f"pattern {name} has delays for {len(delays)} codebooks, and there are {codebooks}; "
            "give one for each"
        )
    return delays


def fitted_name(pattern: str | Mapping[str, Any], codebooks: int) -> str:
    """Returns the name of a pattern for K codebooks; delays of a named pattern get its name.

    Raises ValueError as `pattern_name` does, and for delays of another number of codebooks.
    """
    name = pattern_name(pattern)
    if name in PATTERN_NAMES:
        return name
    delays = delays_of(name, codebooks)
    return next((n for n in PATTERN_NAMES if delays_of(n, codebooks) == delays), name)
