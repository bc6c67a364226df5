"""The small tables of a run: names of their files, titles, and what a terminal shows of each."""

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
"""Names of files of tables that only some jobs have."""


@dataclass(frozen=True)
class SmallTable:
    """A table that is written as files; a terminal shows `shown`, or the sentence `line`."""

    name: str
    title: str
    frame: pl.DataFrame
    shown: pl.DataFrame | None = None
    line: str = ""


def small_tables(tables: RunTables) -> Iterator[SmallTable]:
    """Those that the job has, in the order in which they are printed."""
    if tables.failures is not None:
        title = "How speech fails: shares of each system's items, in percent"
        yield SmallTable("failures", title, tables.failures, _present(tables.failures))
    if tables.waterfall is not None:
        title = "Where points are lost, from a caption as text to the model; below 0 they are won"
        frame = tables.waterfall.drop("kept")
        yield SmallTable("waterfall", title, frame, _wide(tables.waterfall))
    if tables.tests is not None:
        yield SmallTable("tests", "Every system against the first of its prompt", tables.tests)
    if tables.audit is not None:
        title = (
            f"Agreement of ASRs: the same speech transcribed by {tables.asr} and another, in "
            "percent"
        )
        yield SmallTable("audit", title, tables.audit, tables.audit)
    if tables.audit_tests is not None:
        title = "Comparisons with the first system of the prompt share, by a second ASR"
        same = f"{tables.audit_tests['survives'].sum()} of {tables.audit_tests.height}"
        line = f"{title}: {same} have the same outcome."
        yield SmallTable("audit-tests", title, tables.audit_tests, line=line)
    if tables.sensitivity is not None:
        beside = f"beside {tables.asr}, normaliser {tables.normaliser}"
        title = f"What depends on the ASR: {beside}"
        shown = tables.sensitivity.filter(pl.col("kept") == ALWAYS).drop("kept")
        yield SmallTable("sensitivity", title, tables.sensitivity.drop("kept"), shown)
    if tables.sweep is not None:
        title = "The sweep: means of the seeds' own scores (the tables pool their items)"
        yield SmallTable("sweep", title, tables.sweep, tables.sweep)


def _present(failing: pl.DataFrame) -> pl.DataFrame:
    """The kinds of failure that any row has, and the prompt share where any row has one."""
    shares = [name for name, kind in failing.schema.items() if kind == pl.Float64]
    return failing.drop(name for name in shares if not failing[name].sum())


def _wide(falls: pl.DataFrame) -> pl.DataFrame:
    """A row a model and metric, a column a step, each with its ±."""
    shown = falls.filter(SHORT_TABLES).with_columns(
        lost=pl.struct("lost", "low", "high").map_elements(
            lambda step: f"{step['lost']:z.2f} ±{(step['high'] - step['low']) / 2:.1f}",
            return_dtype=pl.String,
        )
    )
    wide = shown.pivot(on="step", index=["system", "metric", "start", "end"], values="lost")
    steps = [step for step in STEPS if step in wide.columns]
    return wide.select("system", "metric", "start", *steps, "end")
