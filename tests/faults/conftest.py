"""Options of the fuzz test."""

from pathlib import Path

import pytest
from fuzzing import CASES


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-cases", type=int, default=CASES, help="how many inputs are spoilt")
    parser.addoption("--fuzz-log", type=Path, help="write what came of them as JSON")
