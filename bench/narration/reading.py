"""Reads captions aloud on all cores: one voice a process, a few captions at a time."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.common.audio import SpeechError, unusable_samples, wav_bytes
from bench.common.progress import Progress
from bench.execution.batches import Batch
from bench.execution.pool import Pool, wait
from bench.execution.session import ray_session
from bench.execution.stages import Stage
from bench.execution.worktime import Clocked
from bench.jobs.spec import ClusterSpec
from bench.narration.plan import Utterance
from bench.systems.voices import reader

MOST = 4
"""Captions in a batch at most: what is in flight when a run is stopped is a matter of seconds."""
_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Said:
    """A caption's speech as a WAV file, and how long it is; or why there is none.

    `machine` says that the process died over it: another run may well succeed.
    """

    one: Utterance
    wav: bytes = b""
    seconds: float = 0.0
    reason: str = ""
    machine: bool = False


class Narrator(Clocked):
    """Holds a voice; `work` reads texts aloud."""

    def __init__(self, voice: str) -> None:
        self.reader = reader(voice, "cpu")
        self.start_clock("cpu")

    def work(self, texts: Sequence[str]) -> list[tuple[bytes, float, str]]:
        """A WAV file, its seconds and "" for each text; or nothing, and why."""
        return [self._said(text) for text in texts]

    def _said(self, text: str) -> tuple[bytes, float, str]:
        try:
            wave, rate = self.reader.read(text)
        except SpeechError as error:
            return b"", 0.0, str(error)
        if reason := unusable_samples(wave):
            return b"", 0.0, f"its speech {reason}"
        return wav_bytes(wave, rate), len(wave) / rate, ""


def batches(utterances: Sequence[Utterance], workers: int) -> Iterator[Batch[Utterance]]:
    """The utterances in order, in batches that get smaller: all workers end at about one time."""
    start = 0
    while start < len(utterances):
        left = len(utterances) - start
        size = max(1, min(MOST, left // (4 * workers)))
        yield Batch("", utterances[start : start + size])
        start += size


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Who reads; `count` 0 means one a core, and `narrator` is the class of the actors."""

    voice: str
    count: int = 0
    address: str | None = None
    narrator: type = Narrator


def read_aloud(
    utterances: Sequence[Utterance],
    workers: Workers,
    keep: Callable[[Said], None],
    report: Progress,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Stage:
    """Reads all utterances and hands each to `keep`; how busy the workers were.

    Where `stop` says so nothing new is begun; what is in flight is kept, and KeyboardInterrupt
    raised.
    """
    cluster = ClusterSpec(address=workers.address)
    with ray_session(cluster):
        import ray

        cpus = int(ray.cluster_resources().get("CPU", 1))
        cores = cpus if workers.address else min(cpus, len(os.sched_getaffinity(0)))
        count = workers.count or max(1, min(cores, len(utterances)))
        actor = ray.remote(num_cpus=min(1.0, cpus / count))(workers.narrator)
        pool: Pool[Utterance] = Pool(
            lambda: actor.remote(workers.voice),
            count,
            lambda batch: [one.text for one in batch.items],
            cluster.deadline_seconds,
            batches(utterances, count),
        )
        done = 0
        while pool.busy if not stop() else pool.in_flight:
            if not stop():
                pool.hand_out()
            wait([pool], _POLL_SECONDS)
            for said in _collected(pool):
                keep(said)
                done += 1
                report("captions", done, len(utterances))
        pool.close()
        if stop():
            raise KeyboardInterrupt
        return replace(pool.stage("narrators", pool.life), cores=0 if workers.address else cores)


def _collected(pool: Pool[Any]) -> Iterator[Said]:
    for done in pool.collect():
        if done.failure:
            [one] = done.items
            yield Said(one, reason=done.failure, machine=done.machine)
            continue
        for one, (wav, seconds, reason) in zip(done.items, done.result, strict=True):
            yield Said(one, wav, seconds, reason)
