"""A run that is killed and resumed ends as the unbroken one does, byte for byte."""

from pathlib import Path

import pytest

from bench.chaos import KINDS, rounds


@pytest.mark.chaos
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_ends_as_the_unbroken_one(tmp_path: Path, kind: str) -> None:
    verdict = rounds(tmp_path, 1, 96, [kind], seed=7, report=lambda *_: None)
    assert sum(verdict.kills.values()) >= 1
    assert verdict.good, verdict
