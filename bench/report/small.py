"""The small tables of a run: their files' names, titles, and their form on a terminal."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from bench.metrics.base import ALWAYS
from bench.tables.results import RunTables
from bench.tables.sweep import SHORT_TABLES
from bench.tables.waterfall import STEPS

NAMES = (
    "failures",
    "waterfall",
    "tests",
    "audit",
    "audit-items",
    "audit-tests",
    "sensitivity",
    "sweep",
)
"""The file names of tables that only some jobs have."""


@dataclass(frozen=True, kw_only=True)
class SmallTable:
    """A table that is written to files; a terminal shows `shown`, or the sentence `line`."""

    name: str
    title: str
    frame: pl.DataFrame
    shown: pl.DataFrame | None = None
    line: str = ""


def small_tables(tables: RunTables) -> Iterator[SmallTable]:
    """Yields the small tables of the job, in the order in which they are printed."""
    if tables.failures is not None:
        yield SmallTable(
            name="failures",
            title="How speech fails: shares of each system's items, in percent",
            frame=tables.failures,
            shown=_present(tables.failures),
        )
    if tables.waterfall is not None:
        yield SmallTable(
            name="waterfall",
            title="Where points are lost, from a caption as text to the model; below 0 they are "
            "won",
            frame=tables.waterfall.drop("kept"),
            shown=_wide(tables.waterfall),
        )
    if tables.tests is not None:
        yield SmallTable(
            name="tests", title="Every system against the first of its prompt", frame=tables.tests
        )
    if tables.audit is not None:
        same = f"the same speech transcribed by {tables.asr} and another, in percent"
        yield SmallTable(
            name="audit",
            title=f"Agreement of ASRs: {same}",
            frame=tables.audit,
            shown=tables.audit,
        )
    if tables.audit_tests is not None:
        title = "Comparisons with the first system of the prompt share, by a second ASR"
        same = f"{tables.audit_tests['survives'].sum()} of {tables.audit_tests.height}"
        yield SmallTable(
            name="audit-tests",
            title=title,
            frame=tables.audit_tests,
            line=f"{title}: {same} have the same outcome.",
        )
    if tables.sensitivity is not None:
        beside = f"beside {tables.asr}, normaliser {tables.normaliser}"
        yield SmallTable(
            name="sensitivity",
            title=f"What depends on the ASR: {beside}",
            frame=tables.sensitivity.drop("kept"),
            shown=tables.sensitivity.filter(pl.col("kept") == ALWAYS).drop("kept"),
        )
    if tables.sweep is not None:
        yield SmallTable(
            name="sweep",
            title="The sweep: means of the seeds' own scores (the tables pool their items)",
            frame=tables.sweep,
            shown=tables.sweep,
        )


def _present(failing: pl.DataFrame) -> pl.DataFrame:
    """Returns the kinds of failure that any row has, and the prompt share if any row has one."""
    shares = [name for name, kind in failing.schema.items() if kind == pl.Float64]
    return failing.drop(name for name in shares if not failing[name].sum())


def _wide(falls: pl.DataFrame) -> pl.DataFrame:
    """Returns a row for each model and metric, with a column for each step and its ±."""
    shown = falls.filter(SHORT_TABLES).with_columns(
        lost=pl.struct("lost", "low", "high").map_elements(
            lambda step: f"{step['lost']:z.2f} ±{(step['high'] - step['low']) / 2:.1f}",
            return_dtype=pl.String,
        )
    )
    wide = shown.pivot(on="step", index=["system", "metric", "start", "end"], values="lost")
    steps = [step for step in STEPS if step in wide.columns]
    return wide.select("system", "metric", "start", *steps, "end")
