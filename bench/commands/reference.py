"""Generates the reference of job files and of a run's files, as Markdown, from their declarations.

`python -m bench.commands.reference > docs/reference.md` updates it; a test compares the two. A
key's meaning is the docstring after its field, a column's is in its declaration.
"""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, TypeAdapter

from bench.gate import golden
from bench.jobs import grid
from bench.jobs.spec import Job
from bench.metrics.base import SHORT
from bench.metrics.shipped import METRICS, scores_of
from bench.narration.job import NarrationJob
from bench.store.columns import Column, Columns, without
from bench.store.rows import GENERATED, MEASURED, TRANSCRIBED
from bench.tables import audit, failures, points, speed, sweep, waterfall
from bench.tables.comparison import table_columns
from bench.tables.items import item_columns
from bench.tables.testing import TESTS
from bench.training.spec import PLAN_BOUNDS, TrainingJob

COMMAND = "python -m bench.commands.reference > docs/reference.md"

_SWEPT = [score.name for score in scores_of(METRICS) if score.display_priority >= SHORT]

FILES: Mapping[str, tuple[str, Columns]] = {
    "ledger/generated/*/part-*.parquet": ("What was generated, a row an item.", GENERATED),
    "ledger/transcribed/*/part-*.parquet": ("What was transcribed, a row an item.", TRANSCRIBED),
    "ledger/measured/*/part-*.parquet": (
        "What an audio metric measured, a row an item.",
        MEASURED,
    ),
    "rows.parquet": ("A row an item and cell.", item_columns(METRICS)),
    "scores.parquet": ("A row a cell, normaliser and score.", sweep.COLUMNS),
    "tables/table[12].*": (
        "Tables I and II: a row a system, published or measured.",
        table_columns(scores_of(METRICS)),
    ),
    "tables/tests.*": ("A row a system and score.", TESTS),
    "tables/failures.*": (
        "How speech fails: a row a system, a column a kind; only what occurs.",
        failures.COLUMNS,
    ),
    "tables/waterfall.*": (
        "A row a model, score and step.",
        without(waterfall.COLUMNS, "kept"),
    ),
    "tables/audit.*": ("Of a job with several ASRs: a row a system.", audit.SUMMARY),
    "tables/audit-items.parquet": ("A row a speech and further ASR.", audit.ITEMS),
    "tables/audit-tests.*": ("A row a comparison and further ASR.", audit.SURVIVAL),
    "tables/sensitivity.*": (
        "A row a system, ASR and normaliser, but for the job's own.",
        without(sweep.SENSITIVITY, "kept"),
    ),
    "tables/sweep.*": (
        "A row a point of the grid but its seed; of the axes, those that vary, and of the scores "
        "those that short tables have. Fact F1 is there where a dataset knows the facts; all "
        "scores stand in `scores.parquet`.",
        sweep.pivot_columns([axis for axis in sweep.AXES if axis != "seed"], _SWEPT),
    ),
    "tables/points.*": (
        "Of a job that varies an axis within a system: a row a point and score, all seeds pooled.",
        points.COLUMNS,
    ),
    "speed.md": (
        "What systems cost: a row a system and device, all seeds together. Values depend on the "
        "machine, and no other file depends on them.",
        speed.COLUMNS,
    ),
    "results/golden/*.parquet": ("A golden: a row an item and cell.", golden.COLUMNS),
}
"""Files with columns, by a pattern of their names, below the run's folder except for the golden."""


@dataclass(frozen=True)
class Section:
    """One mapping of a job file: its paths, and its keys."""

    paths: tuple[str, ...]
    model: type[Any]
    owner: str = ""

    @property
    def heading(self) -> str:
        """The mapping's paths, and its kind where several mappings may be at them."""
        where = ", ".join(f"`{path}`" for path in self.paths) or "The job"
        constants = (
            f", `{name}: {get_args(field.annotation)[0]}`"
            for name, field in getattr(self.model, "model_fields", {}).items()
            if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1
        )
        return where + next(constants, f" of `kind: {self.owner}`" if self.owner else "")


def _docstrings(model: type[Any]) -> dict[str, str]:
    """Returns the docstrings after the fields of a model or dataclass, with the inherited ones."""
    docstrings: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if base is BaseModel or not (issubclass(base, BaseModel) or is_dataclass(base)):
            continue
        docstrings |= vars(base).get("meanings", {})
        if base.__module__ == grid.__name__ and base.__name__.startswith("_"):
            # Its fields are the axes that systems declare, which have their meanings.
            continue
        (node,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(node, ast.ClassDef)
        for statement, following in pairwise(node.body):
            match statement, following:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    docstrings[name] = " ".join(text.split())
    return docstrings


def _models(annotation: Any) -> Iterator[type[Any]]:
    """Yields the models and dataclasses in an annotation."""
    if isinstance(annotation, type) and (
        issubclass(annotation, BaseModel) or is_dataclass(annotation)
    ):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)


def sections(*jobs: type[Any]) -> list[Section]:
    """Returns every mapping that a job of these kinds may hold, in the order of its keys."""
    paths_by_model: dict[type[Any], list[str]] = {}

    def visit(model: type[Any], path: str) -> None:
        paths = paths_by_model.setdefault(model, [])
        if path in paths:
            return
        paths.append(path)
        for name, field in getattr(model, "model_fields", {}).items():
            for inner in _models(field.annotation):
                visit(inner, f"{path}.{name}".removeprefix("."))

    for job in jobs:
        visit(job, "")
    return [
        Section(tuple(path for path in paths if path), m) for m, paths in paths_by_model.items()
    ]


def narration_sections() -> list[Section]:
    """Returns the sections of a narration's job file that an evaluation's job file has not."""
    known = {section.model for section in sections(Job)}
    own_sections = (section for section in sections(NarrationJob) if section.model not in known)
    return [replace(section, paths=(), owner="") for section in own_sections]


def training_sections() -> list[Section]:
    """Returns the mappings that only a training job may hold, not an evaluation's."""
    known = {section.model for section in sections(Job)}
    return [
        replace(section, owner=get_args(job.model_fields["kind"].annotation)[0])
        for job in _models(TrainingJob)
        for section in sections(job)
        if section.model not in known
    ]


def _number(node: Mapping[str, Any]) -> str:
    parts = []
    for key, words in (
        ("minimum", "at least"),
        ("exclusiveMinimum", "more than"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "less than"),
    ):
        if key in node:
            value = node[key]
            parts.append(f"{words} {value:,}" if isinstance(value, int) else f"{words} {value:g}")
    name = "whole number" if node["type"] == "integer" else "number"
    return name + (f", {' and '.join(parts)}" if parts else "")


def _type(node: Mapping[str, Any]) -> str:
    """Returns a JSON schema's node in words."""
    if "$ref" in node:
        return "mapping"
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    branches = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    if branches:
        return ", or ".join(dict.fromkeys(_type(branch) for branch in branches))
    match node.get("type"):
        case "integer" | "number":
            return _number(node)
        case "string":
            return "path" if node.get("format") == "path" else "text"
        case "array":
            return f"list of: {_type(node['items'])}"
        case "object":
            inner = node.get("additionalProperties")
            return f"mapping of names to: {_type(inner if isinstance(inner, dict) else {})}"
        case "boolean":
            return "`true`, `false`"
        case "null":
            return "`null`"
        case _:
            return "text, number, `true`, `false`"


def _default(name: str, schema: Mapping[str, Any]) -> str:
    if name in schema.get("required", ()):
        return "needed"
    # A nested mapping has defaults of its own; the factory of a dictionary creates an empty one.
    value = schema["properties"][name].get("default", {})
    if isinstance(value, dict):
        return "`{}`"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def lacking() -> list[str]:
    """Returns the keys without a meaning, of which there should be none."""
    return [
        f"{section.model.__module__}.{section.model.__name__}.{name}"
        for section in [*sections(Job), *training_sections(), *narration_sections()]
        for name in TypeAdapter(section.model).json_schema()["properties"]
        if name not in _docstrings(section.model)
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in rows:
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |")
    return [*lines, ""]


def _bound(properties: Mapping[str, dict[str, Any]]) -> None:
    """Adds the bounds of a recipe's numbers, which its dataclass does not have."""
    for name, node in properties.items():
        if name in PLAN_BOUNDS:
            low, high = PLAN_BOUNDS[name]
            node |= {"minimum": low, "maximum": high}


def _keys(section: Section) -> list[str]:
    schema = TypeAdapter(section.model).json_schema()
    if "$ref" in schema:
        schema = schema["$defs"][section.model.__name__]
    if is_dataclass(section.model):
        _bound(schema["properties"])
    said = _docstrings(section.model)
    rows = [
        (f"`{name}`", _type(node), _default(name, schema), said.get(name, ""))
        for name, node in schema["properties"].items()
    ]
    about = inspect.cleandoc(section.model.__doc__ or "").split("\n\n")[0]
    lines = [f"### {section.heading}", "", " ".join(about.split()), ""]
    return lines + _table(("key", "what it may be", "default", "meaning"), rows)


def _dtype(column: Column) -> str:
    return str(column.dtype() if isinstance(column.dtype, type) else column.dtype)


def reference() -> str:
    """Returns the content of docs/reference.md."""
    lines = [
        "# Reference",
        "",
        f"Generated by `{COMMAND}`; change the declarations, not this file. [jobs.md](jobs.md) "
        "says how the keys are used.",
        "",
        "## Keys of a job file",
        "",
    ]
    for section in sections(Job):
        lines += _keys(section)
    lines += [
        "## Keys of a training job",
        "",
        "`data`, `asr` and `decoding` are those of a job file; [training.md](training.md) says how "
        "the keys are used.",
        "",
    ]
    for section in training_sections():
        lines += _keys(section)
    lines += [
        "## Keys of a narration",
        "",
        "`dataset` is that of a job file; [datasets.md](datasets.md) says how the keys are used.",
        "",
    ]
    for section in narration_sections():
        lines += _keys(section)
    lines += [
        "## Columns of a run's files",
        "",
        "Files are below `results/runs/NAME/`. A metric of your own adds its scores' columns. CSV "
        "files hold lists as words with spaces between them.",
        "",
    ]
    for pattern, (what, columns) in FILES.items():
        lines += [f"### `{pattern}`", "", what, ""]
        rows = [(f"`{c.name}`", _dtype(c), c.meaning) for c in columns]
        lines += _table(("column", "type", "meaning"), rows)
    return "\n".join(lines).rstrip("\n") + "\n"


if __name__ == "__main__":
    print(reference(), end="")
