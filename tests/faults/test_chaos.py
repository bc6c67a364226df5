"""A run that is killed and resumed gives the bytes of an undisturbed one."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.evidence.chaos.blows import kinds
from tests.evidence.chaos.rounds import one_round, unbroken
from tests.evidence.chaos.subjects import stubs

pytestmark = pytest.mark.slow

SUBJECT = stubs(64)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unbroken(SUBJECT, tmp_path_factory.mktemp("unbroken") / "run")


@pytest.mark.chaos
@pytest.mark.parametrize(
    "blows",
    [
        ("driver", "generator", "rename", "flip"),
        ("write", "transcriber stopped", "jvm", "disk"),
    ],
)
def test_a_killed_run_ends_as_the_unbroken_one(
    tmp_path: Path, whole: Path, blows: tuple[str, ...]
) -> None:
    verdict = one_round(SUBJECT, tmp_path / "run", whole, blows, random.Random(7))
    # A later blow may find the run finished already.
    assert sum(verdict.kills.values()) >= 1
    assert verdict.good, verdict


@pytest.mark.chaos
def test_a_run_over_raylets_that_loses_a_node_ends_as_the_unbroken_one(
    tmp_path: Path, whole: Path
) -> None:
    subject = replace(SUBJECT, raylets=2, patience=240)
    assert {"node", "raylet"} & {*kinds(subject)} == {"node"}
    assert {"node", "raylet"} & {*kinds(SUBJECT)} == {"raylet"}
    verdict = one_round(subject, tmp_path / "run", whole, ("node",), random.Random(7))
    assert verdict.kills == {"node": 1}
    assert verdict.good, verdict
