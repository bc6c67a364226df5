"""The structure of the code: which folders may import which; none names another's kinds."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from bench.datasets.shipped import AnyDataset

ROOT = Path(__file__).parents[2]
ROOMS = (
    "common",
    "datasets",
    "store",
    "metrics",
    "asr",
    "systems",
    "tracking",
    "jobs",
    "execution",
    "narration",
    "scoring",
    "tables",
    "report",
    "listening",
    "training",
    "trend",
    "gate",
    "perf",
    "commands",
    "cli",
)
"""From the bottom up; a room may import those before it and itself."""


def _files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _imported(path: Path) -> Iterator[str]:
    """All modules of ours that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module in ("bench", "pixvox"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_folders_import_only_those_before_them() -> None:
    upwards = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in _files("bench")
        for name in _imported(path)
        if name.startswith("bench.") and path.parent != ROOT / "bench"
        if ROOMS.index(name.split(".")[1]) > ROOMS.index(path.relative_to(ROOT).parts[1])
    ]
    assert upwards == []


def test_only_the_command_line_is_outside_of_the_folders() -> None:
    flat = {path.name for path in (ROOT / "bench").iterdir() if path.name != "__pycache__"}
    assert flat - {"__init__.py", "cli.py"} <= set(ROOMS)


def test_pixvox_imports_neither_ray_nor_the_suite() -> None:
    roots = {name.split(".")[0] for path in _files("pixvox") for name in _imported(path)}
    assert not roots & {"ray", "bench"}


@pytest.mark.parametrize("package", ["bench", "pixvox"])
def test_modules_have_no_circular_imports(package: str) -> None:
    files = {
        path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in _files(package)
    }
    names = set(files.values())
    # Inside functions too: what is imported late is known all the same.
    edges = {
        name: {module for module in _imported(path) if module in names}
        for path, name in files.items()
    }
    while free := [name for name, below in edges.items() if not below & edges.keys()]:
        for name in free:
            del edges[name]
    assert sorted(edges) == []


def test_fields_of_a_dataclass_after_the_fourth_are_named() -> None:
    positional = {
        f"{path.relative_to(ROOT)}: {node.name}"
        for package in ("bench", "pixvox")
        for path in _files(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and len(_positional_fields(node)) > 4
    }
    assert not positional


def _positional_fields(node: ast.ClassDef) -> list[str]:
    """Returns the fields that a dataclass takes by position, and none for another class."""
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    if not any("dataclass" in text and "kw_only" not in text for text in decorators):
        return []
    fields: list[str] = []
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign):
            kind = ast.unparse(statement.annotation)
            if kind == "KW_ONLY":
                break
            if not kind.startswith("ClassVar"):
                fields.append(ast.unparse(statement.target))
    return fields


def test_report_computes_nothing() -> None:
    names = {name for path in _files("bench/report") for name in _imported(path)}
    scoring = {name for name in names if name.startswith("bench.scoring")}
    assert scoring <= {"bench.scoring.signature", "bench.scoring.taxonomy"}


@pytest.mark.parametrize("room", ["datasets", "tables", "gate"])
def test_rooms_below_the_commands_parse_and_print_nothing(room: str) -> None:
    calls = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in _files(f"bench/{room}")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert calls == []
    names = {name for path in _files(f"bench/{room}") for name in _imported(path)}
    assert "argparse" not in names


def test_no_other_folder_depends_on_the_kind_of_system() -> None:
    kind = re.compile(r"isinstance\([^)]*System\b|^\s*case \w*System\(|\.kind\b", re.MULTILINE)
    asking = [
        str(path.relative_to(ROOT))
        for path in _files("bench")
        if "systems" not in path.parts and kind.search(path.read_text(encoding="utf-8"))
    ]
    assert asking == []


def test_no_other_folder_depends_on_the_kind_of_dataset() -> None:
    kinds = "|".join(kind.__name__ for kind in get_args(get_args(AnyDataset)[0]))
    kind = re.compile(rf"isinstance\([^)]*\b({kinds})\b|^\s*case ({kinds})\(", re.MULTILINE)
    asking = [
        str(path.relative_to(ROOT))
        for path in _files("bench")
        if "datasets" not in path.parts and kind.search(path.read_text(encoding="utf-8"))
    ]
    assert asking == []


def test_no_other_folder_names_a_metric() -> None:
    name = re.compile(r"[\"'](BLEU(-\d)?|METEOR|ROUGE-L|CIDEr|WER)[\"']")
    naming = [
        str(path.relative_to(ROOT))
        for path in _files("bench")
        if "metrics" not in path.parts and name.search(path.read_text(encoding="utf-8"))
    ]
    assert naming == []
