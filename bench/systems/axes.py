"""Axes along which a job's grid varies systems: each is declared once, by the systems that have it.

Grid and points of a job file, columns of a sweep, and reference docs derive from the declarations.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

from bench.common.bounds import Bandwidth, Decibels, Seed, Share
from bench.store.columns import Column


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis: its key in a job's `grid`, and its column in tables.

    `type` is the type of one value, with its bounds; `column` is the column's type, and `meaning`
    its description in the docs.
    """

    name: str
    type: Any
    column: Any
    meaning: str

    @property
    def declared(self) -> Column:
        """Returns the axis as a column of a file."""
        return Column(self.name, self.column, self.meaning)

    @property
    def is_numeric(self) -> bool:
        """Returns whether its values are numbers on a scale, not names."""
        return self.column in (pl.Float64, pl.Int64)


PROMPT = Axis(
    name="prompt",
    type=Share,
    column=pl.Float64,
    meaning="The share of the reference speech that was given, 0 to 1.",
)
SEED = Axis(
    name="seed",
    type=Seed,
    column=pl.Int64,
    meaning="The seed of its draws; null where nothing is drawn.",
)
BANDWIDTH = Axis(
    name="bandwidth",
    type=Bandwidth,
    column=pl.Float64,
    meaning="The codec's bandwidth in kbps, of systems that name one.",
)
SNR = Axis(
    name="snr",
    type=Decibels,
    column=pl.Float64,
    meaning="The signal-to-noise ratio of speech in noise, in dB.",
)
