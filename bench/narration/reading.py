"""Reads captions aloud on all cores, with one voice in each process."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.common.audio import SpeechError, Wave, resample, unusable_samples, wav_bytes
from bench.common.progress import Progress
from bench.datasets.storedunits import Units
from bench.execution.batches import Batch
from bench.execution.cluster import find_cluster
from bench.execution.nodefiles import NodeFiles, on_nodes, weights_files
from bench.execution.parcels import pack
from bench.execution.pool import Pool, wait
from bench.execution.session import ray_session
from bench.execution.stages import Stage
from bench.execution.worktime import Clocked
from bench.jobs.spec import ClusterSpec
from bench.narration.plan import Utterance
from bench.systems.voices import PIPER, Reader, reader
from pixvox.errors import UnitsError

if TYPE_CHECKING:
    from pixvox.codec.encodec import Codec

MOST = 4
"""At most this many captions in a batch, so that a stopped run ends within seconds."""
_POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Format:
    """The wanted files of speech: with `sound`, a WAV file; with a `codec` (name, kbps), units."""

    sound: bool = True
    codec: tuple[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Speech:
    """A text's speech in the wanted forms and its duration; or the `reason` of its failure."""

    wav: bytes | None = None
    units: Units | None = None
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Said:
    """A caption's speech; with `machine`, its process died, so another run may succeed."""

    utterance: Utterance
    speech: Speech
    machine: bool = False


class Narrator(Clocked):
    """Holds a voice and, where units are asked for, a codec; `work` reads texts aloud."""

    def __init__(self, voice: str, wanted: Format) -> None:
        self.reader = self.load_voice(voice)
        self.sound = wanted.sound
        self.codec = _load_codec(*wanted.codec) if wanted.codec is not None else None
        self.start_clock("cpu")

    def load_voice(self, voice: str) -> Reader:
        """Returns the voice of this name."""
        return reader(voice, "cpu")

    def work(self, texts: Sequence[str]) -> list[Speech]:
        """Returns the speech of each text, in order."""
        return [self._read(text) for text in texts]

    def _read(self, text: str) -> Speech:
        try:
            wave, rate = self.reader.read(text)
        except SpeechError as error:
            return Speech(reason=str(error))
        if reason := unusable_samples(wave):
            return Speech(reason=f"its speech {reason}")
        try:
            units = _encode(wave, rate, self.codec) if self.codec is not None else None
        except UnitsError as error:
            return Speech(reason=str(error))
        wav = wav_bytes(wave, rate) if self.sound else None
        return Speech(wav=wav, units=units, seconds=len(wave) / rate)


def _load_codec(name: str, bandwidth: float) -> "Codec":
    import torch

    from pixvox.codec.encodec import Codec

    torch.set_num_threads(1)
    return Codec.load(name, bandwidth)


def _encode(wave: Wave, rate: int, codec: "Codec") -> Units:
    """Returns the units `[K, N]` of the voice's own samples, before they are rounded to 16 bits."""
    units = codec.encode(resample(wave, rate, codec.sample_rate)).numpy()
    return units.astype(np.uint8 if codec.codebook_size <= 256 else np.int16)


def batches(utterances: Sequence[Utterance], workers: int) -> Iterator[Batch[Utterance]]:
    """Yields the utterances in batches that get smaller, so that all workers end together."""
    start = 0
    while start < len(utterances):
        left = len(utterances) - start
        size = max(1, min(MOST, left // (4 * workers)))
        yield Batch("", utterances[start : start + size])
        start += size


@dataclass(frozen=True, kw_only=True)
class Workers:
    """The reading processes; `count` 0 means one a core, `narrator` is the class of the actors."""

    voice: str
    wanted: Format = field(default_factory=Format)
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
    """Reads all utterances and calls `keep` with each; returns how busy the workers were.

    Once `stop` returns True no batch is begun; batches in flight are kept, and KeyboardInterrupt is
    raised. Raises as `find_cluster` and `Pool.collect`.
    """
    address = find_cluster(workers.address)
    with ray_session(address):
        import ray

        cpus = int(ray.cluster_resources().get("CPU", 1))
        cores = cpus if address else min(cpus, len(os.sched_getaffinity(0)))
        count = workers.count or max(1, min(cores, len(utterances)))
        share = ray.remote(num_cpus=min(1.0, cpus / count))
        pool: Pool[Utterance] = Pool(
            _on_nodes(workers, share) if address else _here(workers, share),
            count,
            lambda batch: _texts(batch) if address is None else pack(_texts(batch)),
            ClusterSpec().deadline_seconds,
            source=batches(utterances, count),
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
        return replace(pool.stage("narrators", pool.life), cores=0 if address else cores)


def _texts(batch: Batch[Utterance]) -> list[str]:
    return [utterance.text for utterance in batch.items]


def _here(workers: Workers, remote: Callable[[type], Any]) -> Callable[[int], Any]:
    """Returns a function that starts narrators in a Ray of this command's own."""
    actor = remote(workers.narrator)
    return lambda place: actor.remote(workers.voice, workers.wanted)


def _on_nodes(workers: Workers, remote: Callable[[type], Any]) -> Callable[[int], Any]:
    """Returns a function that starts narrators in a cluster, and sends its nodes their files."""
    codec = workers.wanted.codec
    names = [workers.voice] if workers.voice != PIPER else []
    files = NodeFiles(weights_files([*names, *([codec[0]] if codec is not None else [])]))
    actor, arguments = remote(on_nodes(workers.narrator)), pack((workers.voice, workers.wanted))
    return lambda place: actor.remote(files.sent(), files.home, arguments)


def _collected(pool: Pool[Any]) -> Iterator[Said]:
    for done in pool.collect():
        if done.failure:
            [utterance] = done.items
            yield Said(utterance, Speech(reason=done.failure), done.machine)
            continue
        for utterance, speech in zip(done.items, done.result, strict=True):
            yield Said(utterance, speech)
