"""A run that is killed and resumed ends as the unbroken one does, byte for byte."""

import random
from pathlib import Path

import pytest

from bench.selfcheck.chaos.rounds import one_round, unbroken
from bench.selfcheck.chaos.subjects import stubs

SUBJECT = stubs(64)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unbroken(SUBJECT, tmp_path_factory.mktemp("unbroken") / "run")


@pytest.mark.chaos
@pytest.mark.parametrize(
    "kinds",
    [
        ("driver", "generator", "rename", "flip"),
        ("write", "transcriber stopped", "jvm", "disk"),
    ],
)
def test_a_killed_run_ends_as_the_unbroken_one(
    tmp_path: Path, whole: Path, kinds: tuple[str, ...]
) -> None:
    verdict = one_round(SUBJECT, tmp_path / "run", whole, kinds, random.Random(7))
    # A later blow may find the run finished already.
    assert sum(verdict.kills.values()) >= 1
    assert verdict.good, verdict
