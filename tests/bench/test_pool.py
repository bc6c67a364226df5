"""The pool on real Ray actors: whatever dies, every item comes back once."""

import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.common.errors import RunFailed
from bench.execution.batches import Batch, Done, batch_sizes
from bench.execution.pool import Pool, wait
from bench.execution.session import ray_session, sizes
from bench.execution.stages import Pace, Stage, together
from bench.execution.worktime import Clocked, spent
from bench.jobs.spec import ClusterSpec


def _doubler() -> type:
    # Made inside a function, so that Ray ships the class itself and not its module's name.
    class Doubler:
        """Doubles numbers; dies of 13, exits on 17, loses its GPU over 21, raises on 7, and never
        answers 99."""

        def __init__(self, start: bool = True, gate: Path | None = None) -> None:
            if not start:
                raise ValueError("no weights here")
            while gate is not None and not gate.exists():
                time.sleep(0.01)

        def work(self, numbers: list[int]) -> list[int]:
            if 13 in numbers:
                os._exit(1)
            if 17 in numbers:
                sys.exit(0)
            if 21 in numbers:
                raise RuntimeError("CUDA error: device-side assert triggered")
            if 7 in numbers:
                raise ValueError("seven is refused")
            while 99 in numbers:
                pass
            return [2 * n for n in numbers]

    return Doubler


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    with ray_session(ClusterSpec()):
        yield


def _drain(numbers: list[int], size: int, deadline: float) -> dict[int, Done[int]]:
    import ray

    actor = ray.remote(num_cpus=0)(_doubler())
    pool: Pool[int] = Pool(actor.remote, 2, lambda batch: list(batch.items), deadline)
    for start in range(0, len(numbers), size):
        pool.submit(Batch("tag", numbers[start : start + size]))
    found: dict[int, Done[int]] = {}
    while pool.busy:
        pool.hand_out()
        wait([pool], 0.2)
        for done in pool.collect():
            for number in done.items:
                assert number not in found
                found[number] = done
    pool.close()
    return found


def test_only_the_poisonous_items_fail() -> None:
    numbers = list(range(24))
    found = _drain(numbers, 4, deadline=60)
    assert sorted(found) == numbers
    failed = {n: done.failure for n, done in found.items() if done.failure}
    assert failed.keys() == {7, 13, 17, 21}
    # No process, machine or time is in a reason: it is the same on every run.
    assert failed[7] == "ValueError: seven is refused"
    assert failed[13] == failed[17] == "its actor died"
    assert failed[21] == "RuntimeError: CUDA error: device-side assert triggered"
    # Another machine may do better with what killed this one, not with what is refused.
    assert {n for n, done in found.items() if done.machine} == {13, 17, 21}
    good: list[Any] = [done for done in found.values() if not done.failure]
    assert all(done.result == [2 * n for n in done.items] for done in good)


def test_a_stuck_batch_meets_its_deadline() -> None:
    found = _drain([1, 99, 2], 1, deadline=4)
    assert {n for n, done in found.items() if done.failure} == {99}
    assert "no result within 4 s" in found[99].failure


def test_an_actor_that_cannot_start_is_no_item_s_fault() -> None:
    import ray

    actor = ray.remote(num_cpus=0)(_doubler())
    pool: Pool[int] = Pool(lambda: actor.remote(start=False), 1, list, deadline=60)
    pool.submit(Batch("tag", [1]))
    pool.hand_out()
    wait([pool], 60)
    with pytest.raises(RunFailed, match=r"did not start: .*no weights here"):
        list(pool.collect())


def test_actors_tell_how_long_they_computed() -> None:
    import ray

    class Working(Clocked):
        def __init__(self, device: str) -> None:
            self.start_clock(device)

        def work(self) -> None:
            sum(range(3_000_000))

    actors = [ray.remote(num_cpus=0)(Working).remote("cpu") for _ in range(2)]
    ray.get([actor.work.remote() for actor in actors])
    assert 0.01 < spent(actors) < 60
    # One whose work is on a GPU leaves it unknown.
    assert spent([*actors, ray.remote(num_cpus=0)(Working).remote("cuda")]) == 0


def test_who_has_started_works_while_others_are_still_starting(tmp_path: Path) -> None:
    import ray

    actor = ray.remote(num_cpus=0)(_doubler())
    gates = [tmp_path / "open", tmp_path / "shut"]
    gates[0].touch()
    places = iter(gates)
    pool: Pool[int] = Pool(
        lambda: actor.remote(gate=next(places)), 2, lambda batch: list(batch.items), 60
    )
    for number in range(6):
        pool.submit(Batch("tag", [number]))
    found: list[int] = []
    while pool.busy:
        pool.hand_out()
        wait([pool], 0.2)
        found += [number for done in pool.collect() for number in done.items]
    assert sorted(found) == list(range(6))
    gates[1].touch()
    pool.close()


@pytest.mark.parametrize("gpus", [0, 1, 2, 3, 8])
@pytest.mark.parametrize(("generators", "transcribers"), [(0, 0), (1, 0), (2, 5)])
def test_every_actor_can_be_placed(gpus: int, generators: int, transcribers: int) -> None:
    plan = sizes(ClusterSpec(generators=generators, transcribers=transcribers), gpus, cpus=2)
    actors = plan.generators + plan.transcribers
    if gpus:
        assert actors <= gpus * int(1 / plan.gpu)
    else:
        assert plan.gpu == 0
        # On many cores one generator would keep most transcribers waiting.
        assert sizes(ClusterSpec(), 0, cpus=32).generators == 8
        assert plan.transcribers <= 2 * int(1 / plan.cpu)


def test_what_others_wait_for_is_the_bottleneck() -> None:
    stages = together(
        [
            Stage("generating", 1, 10.0, 2.0, 30, cpu=1.0, cores=2),
            Stage("transcribing", 2, 40.0, 38.0, 60, cpu=30.0, cores=2),
            Stage("generating", 2, 10.0, 6.0, 30, cpu=3.0, cores=2),
        ]
    )
    assert stages[0] == Stage("generating", 2, 20.0, 8.0, 60, cpu=4.0, cores=2)
    pace = Pace(60, 24.0, 4.0, stages)
    # Both kinds share the cores: 34 CPU seconds are 17 s of two, out of 20 s.
    assert (pace.alone, pace.efficiency) == (17.0, 0.85)
    # Where one of them is not known, nothing is said of the work.
    unknown = together([*stages, Stage("generating", 1, 0.0, 0.0, 0, cores=2)])
    assert Pace(60, 24.0, 4.0, unknown).alone == 0
    said = replace(pace, seconds=20.0, stages=unknown).words
    assert said.startswith("transcribing was the bottleneck, 95% busy; generating waited 60%")
    assert "first row after 4.0 s, 3.00 rows/s" in said


@pytest.mark.parametrize(
    ("each", "share", "expected"),
    [
        ([32], 100, (32, 96)),
        ([32, 32, 32], 100, (10, 32)),
        ([32], 5, (5, 5)),
        # Beside ways that draw candidates plain ones count little: a batch must not take an hour.
        ([64, 4, 4], 100, (2, 6)),
        ([64, 1], 100, (1, 3)),
        ([1, 1, 1, 1, 1], 100, (1, 1)),
    ],
)
def test_a_batch_fills_the_slots_of_what_takes_most(
    each: list[int], share: int, expected: tuple[int, int]
) -> None:
    assert batch_sizes(each, share) == expected
