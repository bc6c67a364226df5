"""The pool on real Ray actors: whichever actor dies, every item is returned once."""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from bench.common.errors import ActorUnusable, RunFailed
from bench.execution.batches import Batch, Done, batch_sizes
from bench.execution.division import divide, divide_gpus, gpus_to_divide
from bench.execution.pool import START_SECONDS, Pool, _Worker, wait
from bench.execution.session import ray_session
from bench.execution.stages import Pace, Stage, merge_stages
from bench.execution.worktime import Clocked, total_cpu_seconds
from bench.jobs.spec import ClusterSpec

pytestmark = pytest.mark.slow


def _doubler() -> type:
    # Made inside a function, so that Ray ships the class itself and not its module's name.
    class Doubler:
        """Doubles numbers; dies of 13, exits on 17, loses its GPU over 21, raises on 7, and never
        answers 99. Where it is not `able` it cannot work at all."""

        def __init__(self, start: bool = True, gate: Path | None = None, able: bool = True) -> None:
            if not start:
                raise ValueError("no weights here")
            self.able = able
            while gate is not None and not gate.exists():
                time.sleep(0.01)

        def work(self, numbers: list[int]) -> list[int]:
            if not self.able:
                raise ActorUnusable("decoding.slots 512: out of memory")
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
    with ray_session():
        yield


def _drain(numbers: list[int], size: int, deadline: float) -> dict[int, Done[int]]:
    import ray

    actor = ray.remote(num_cpus=0)(_doubler())
    pool: Pool[int] = Pool(lambda _: actor.remote(), 2, lambda batch: list(batch.items), deadline)
    for start in range(0, len(numbers), size):
        pool.submit(Batch("tag", numbers[start : start + size]))
    return _worked(pool)


def _worked(pool: Pool[int]) -> dict[int, Done[int]]:
    """What came of each number, once the pool is through."""
    results: dict[int, Done[int]] = {}
    while pool.busy:
        pool.hand_out()
        wait([pool], 0.2)
        for done in pool.collect():
            for number in done.items:
                assert number not in results
                results[number] = done
    pool.close()
    return results


def test_only_items_that_kill_an_actor_or_raise_fail() -> None:
    numbers = list(range(24))
    results = _drain(numbers, 4, deadline=60)
    assert sorted(results) == numbers
    failed = {n: done.failure for n, done in results.items() if done.failure}
    assert failed.keys() == {7, 13, 17, 21}
    # No process, machine or time is in a reason: it is the same on every run.
    assert failed[7] == "ValueError: seven is refused"
    assert failed[13] == failed[17] == "its actor died"
    assert failed[21] == "RuntimeError: CUDA error: device-side assert triggered"
    # Another machine may do better with what killed this one, not with what is refused.
    assert {n for n, done in results.items() if done.machine} == {13, 17, 21}
    good: list[Any] = [done for done in results.values() if not done.failure]
    assert all(done.result == [2 * n for n in done.items] for done in good)


def test_a_batch_that_hangs_fails_at_its_deadline() -> None:
    results = _drain([1, 99, 2], 1, deadline=4)
    assert {n for n, done in results.items() if done.failure} == {99}
    assert "no result within 4 s" in results[99].failure


def test_an_actor_that_is_replaced_may_take_longer_to_start_than_a_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        Pool,
        "_starting",
        lambda _, place: _Worker(place=place, handle=None, ready=object(), since=0.0),
    )
    pool: Pool[int] = Pool(Mock(), 1, list, deadline=4)
    for started in (0.0, 1.0):
        pool._since = started
        pool._check_starts(START_SECONDS)
        with pytest.raises(RunFailed, match=r"within 60 s"):
            pool._check_starts(START_SECONDS + 1)


def test_an_actor_that_cannot_start_fails_no_item() -> None:
    import ray

    actor = ray.remote(num_cpus=0)(_doubler())
    pool: Pool[int] = Pool(lambda _: actor.remote(start=False), 1, list, deadline=60)
    pool.submit(Batch("tag", [1]))
    pool.hand_out()
    wait([pool], 60)
    with pytest.raises(RunFailed, match=r"did not start: .*no weights here"):
        list(pool.collect())


def test_the_only_actor_is_started_again_where_its_process_died(tmp_path: Path) -> None:
    import ray

    class Dying:
        def __init__(self) -> None:
            if not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                os._exit(1)

        def work(self, numbers: list[int]) -> list[int]:
            return [2 * n for n in numbers]

    actor = ray.remote(num_cpus=0)(Dying)
    pool: Pool[int] = Pool(lambda _: actor.remote(), 1, lambda batch: list(batch.items), 60)
    pool.submit(Batch("tag", [1]))
    assert _worked(pool)[1].result == [2]


@pytest.mark.parametrize("fault", ["start", "able"])
def test_an_unusable_actor_only_loses_its_place(
    fault: str, capfd: pytest.CaptureFixture[str]
) -> None:
    import ray

    actor = ray.remote(num_cpus=0)(_doubler())

    def pool(faulty: tuple[int, ...]) -> Pool[int]:
        started: Pool[int] = Pool(
            lambda place: actor.remote(**{fault: place not in faulty}),
            2,
            lambda batch: list(batch.items),
            deadline=60,
        )
        for number in range(6):
            started.submit(Batch("tag", [number]))
        return started

    assert sorted(_worked(pool((1,)))) == list(range(6))
    capfd.readouterr()
    with pytest.raises(RunFailed, match=r"no weights here|slots 512: out of memory$"):
        _worked(pool((0, 1)))
    if fault == "able":
        assert capfd.readouterr().err == (
            "decoding.slots 512: out of memory; the run continues with 1 of 2 such actors\n"
        )


def test_actors_report_their_cpu_time() -> None:
    import ray

    class Working(Clocked):
        def __init__(self, device: str) -> None:
            self.start_clock(device)

        def work(self) -> None:
            sum(range(3_000_000))

    actors = [ray.remote(num_cpus=0)(Working).remote("cpu") for _ in range(2)]
    ray.get([actor.work.remote() for actor in actors])
    assert 0.01 < total_cpu_seconds(actors) < 60
    # One whose work is on a GPU leaves it unknown.
    assert total_cpu_seconds([*actors, ray.remote(num_cpus=0)(Working).remote("cuda")]) == 0


def test_started_actors_work_while_others_start(tmp_path: Path) -> None:
    import ray

    actor = ray.remote(num_cpus=0)(_doubler())
    gates = [tmp_path / "open", tmp_path / "shut"]
    gates[0].touch()
    pool: Pool[int] = Pool(
        lambda place: actor.remote(gate=gates[place]), 2, lambda batch: list(batch.items), 60
    )
    for number in range(6):
        pool.submit(Batch("tag", [number]))
    numbers: list[int] = []
    while pool.busy:
        pool.hand_out()
        wait([pool], 0.2)
        numbers += [number for done in pool.collect() for number in done.items]
    assert sorted(numbers) == list(range(6))
    gates[1].touch()
    pool.close()


@pytest.mark.parametrize("gpus", [1, 2, 3, 8])
@pytest.mark.parametrize("counts", [(1, 1), (1, 8), (2, 7), (4, 4), (8, 1)])
def test_every_gpu_is_used_and_shared_only_by_the_surplus(
    gpus: int, counts: tuple[int, int]
) -> None:
    generators, transcribers = counts
    spec = ClusterSpec(generators=generators, transcribers=transcribers)
    parts = divide(spec, gpus, cpus=2, generates_on_gpu=True)
    assert (len(parts.generator_gpus), len(parts.transcriber_gpus)) == counts
    users = Counter((*parts.generator_gpus, *parts.transcriber_gpus))
    assert len(users) == min(gpus, sum(counts))
    assert max(users.values()) - min(users.values()) <= 1
    assert all(count * parts.share(gpu) <= 1 for gpu, count in users.items())
    # Without GPUs, and where nothing generates on them, generators hold none.
    assert divide(spec, 0, 2, generates_on_gpu=True).transcriber_gpus == ()
    alone = divide(spec, gpus, 2, generates_on_gpu=False)
    assert (alone.generator_gpus, alone.transcriber_gpus) == ((), divide_gpus(transcribers, gpus))


def test_default_numbers_of_actors_follow_the_machine() -> None:
    def counts(gpus: int, cpus: int, generates_on_gpu: bool = True) -> tuple[int, int, float]:
        parts = divide(ClusterSpec(), gpus, cpus, generates_on_gpu=generates_on_gpu)
        return parts.generators, parts.transcribers, parts.cpu

    # On many cores one generator would keep most transcribers waiting.
    assert counts(0, 32) == (8, 32, 1.0)
    assert counts(8, 32) == (4, 4, 0.0)
    assert counts(8, 32, generates_on_gpu=False) == (8, 8, 0.0)
    # A cluster that scales from no GPU is asked for one an actor.
    assert gpus_to_divide(ClusterSpec(), here=0, most=100) == 2
    assert gpus_to_divide(ClusterSpec(generators=4, transcribers=9), here=2, most=8) == 8
    assert gpus_to_divide(ClusterSpec(generators=4, transcribers=9), here=2, most=0) == 2


def test_the_busiest_stage_is_the_bottleneck() -> None:
    stages = merge_stages(
        [
            Stage(name="generating", actors=1, seconds=10.0, busy=2.0, items=30, cpu=1.0, cores=2),
            Stage(
                name="transcribing", actors=2, seconds=40.0, busy=38.0, items=60, cpu=30.0, cores=2
            ),
            Stage(name="generating", actors=2, seconds=10.0, busy=6.0, items=30, cpu=3.0, cores=2),
        ]
    )
    assert stages[0] == Stage(
        name="generating", actors=2, seconds=20.0, busy=8.0, items=60, cpu=4.0, cores=2
    )
    pace = Pace(rows=60, seconds=24.0, first=4.0, stages=stages)
    # Both kinds share the cores: 34 CPU seconds are 17 s of two, out of 20 s.
    assert (pace.alone, pace.efficiency) == (17.0, 0.85)
    # Where one of them is not known, nothing is said of the work.
    unknown = merge_stages(
        [*stages, Stage(name="generating", actors=1, seconds=0.0, busy=0.0, items=0, cores=2)]
    )
    assert Pace(rows=60, seconds=24.0, first=4.0, stages=unknown).alone == 0
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
def test_the_variant_with_most_slots_decides_the_batch(
    each: list[int], share: int, expected: tuple[int, int]
) -> None:
    assert batch_sizes(each, share) == expected
