"""The two kinds of actor: generators hold a system; transcribers hold codecs and an ASR model."""

import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.asr.base import MAX_SECONDS, SAMPLE_RATE, Asr, Transcription
from bench.common.audio import SpeechError, Wave, wav_bytes
from bench.common.errors import ActorUnusable
from bench.common.text import reason_of, short
from bench.datasets.base import Item
from bench.execution.measuring import Measurer, Sound
from bench.execution.parcels import as_on_driver
from bench.execution.worktime import Clocked
from bench.metrics.settings import MetricEntry
from bench.store.rows import MeasuredRow, SpeechRow, ToTranscribe, Transcribed, TranscriptRow
from bench.systems.base import ABSENT, Asked, Charging, Made, System, Variant, lacks_files
from bench.systems.voice import Voice, continuation
from pixvox.errors import UnitsError


def device() -> str:
    """Returns the device for models, "cuda" or "cpu".

    In an actor it is "cuda" if Ray has assigned a GPU, in other processes if PyTorch finds one.
    Raises ActorUnusable where PyTorch cannot use the assigned GPU.
    """
    import torch

    assigned = _assigned_gpus()
    if assigned is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not assigned:
        return "cpu"
    try:
        torch.zeros(1, device="cuda")
    except (RuntimeError, AssertionError) as error:
        raise ActorUnusable(_unusable_gpu(assigned, reason_of(error))) from error
    return "cuda"


def _assigned_gpus() -> list[str] | None:
    """Returns the ids of the GPUs that Ray assigned to this actor; None outside an actor."""
    if "ray" not in sys.modules:
        return None
    import ray

    if not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
        return None
    return list(ray.get_runtime_context().get_accelerator_ids()["GPU"])


def _unusable_gpu(assigned: Sequence[str], reason: str) -> str:
    """Returns the message for a GPU that PyTorch cannot use: node, driver, build, and the fix."""
    import ray
    import torch

    try:
        driver = Path("/proc/driver/nvidia/version").read_text()
        version = re.search(r"\d+\.\d+(\.\d+)?", driver)
        driver = f"NVIDIA driver {version[0]}" if version else "an unknown NVIDIA driver"
    except OSError:
        driver = "no NVIDIA driver"
    cuda = torch.version.cuda
    build = f"built for CUDA {cuda}" if cuda else "built without CUDA"
    fix = "update the driver" if cuda else "install a CUDA build of PyTorch"
    return (
        f"node {ray.util.get_node_ip_address()}: PyTorch {torch.__version__} ({build}; {driver}) "
        f"cannot use GPU {', '.join(assigned)}, which Ray assigned: {short(reason)}; {fix} there, "
        "or hide its GPUs: CUDA_VISIBLE_DEVICES= or ray start --num-gpus=0"
    )


def _device_name(kind: str) -> str:
    import torch

    return torch.cuda.get_device_name() if kind == "cuda" else "cpu"


class GeneratorActor(Clocked):
    """Holds one system; `work` generates a batch of items in the variants asked of each."""

    def __init__(self, system: System, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        kind = device()
        self.generator = system.generator(kind)
        self.device = _device_name(kind)
        self.start_clock(kind, self.device)

    def work(self, asked: Asked) -> Made:
        """Returns one row, with its variant's key, for every item and variant asked."""
        since, charged = self.reading(), self._charged()
        rows = self.generator.generate(asked)
        frames: dict[str, list[int]] = defaultdict(list)
        for key, row in rows:
            frames[key].append(row.frames - row.prompt_frames)
        each = [(item, variant) for item, variants in asked for variant in variants]
        alone = each[0][0].id if len(each) == 1 else ""
        self.add_cost(since, frames, price=self._charged() - charged, alone=alone)
        return [
            (key, self._settled(row, item, variant))
            for (key, row), (item, variant) in zip(rows, each, strict=True)
        ]

    def _charged(self) -> float:
        return self.generator.charged() if isinstance(self.generator, Charging) else 0.0

    def _settled(self, row: SpeechRow, item: Item, variant: Variant) -> SpeechRow:
        """Returns the row with its device and, if it failed for lack of files, that cause."""
        absent = row.status != "ok" and lacks_files(variant.system, item, variant.caption)
        cause = ABSENT if absent else row.cause
        return replace(row, device=self.device, cause=cause, reason=as_on_driver(row.reason))


def _is_absent(system: System, entry: ToTranscribe) -> bool:
    """Returns whether a row's speech is in a file that is not on this actor's node."""
    if entry.row.units or entry.row.audio:
        return False
    if entry.file is not None:
        return not entry.file.is_file()
    return lacks_files(system, entry.item, entry.row.caption)


class TranscriberActor(Clocked):
    """Decodes units to speech, transcribes it in batches of a fixed size, and measures it.

    `metrics` are the audio metrics that a message may ask for by their names. Without an ASR,
    nothing is transcribed.
    """

    def __init__(self, asr: Asr | None, threads: int, metrics: Sequence[MetricEntry] = ()) -> None:
        import torch

        torch.set_num_threads(threads)
        kind = device()
        self.batch = 1
        if asr is not None:
            self.asr = asr.transcriber(kind, threads)
            self.batch = asr.batch_of(self.asr)
        self.measurers = {str(entry): Measurer(entry, kind, threads) for entry in metrics}
        self.voice = Voice(kind)
        self.device = _device_name(kind)
        self.start_clock(kind, self.device)

    def work(self, work: tuple[System, str, Sequence[ToTranscribe]]) -> list[Transcribed]:
        """Returns a result for every row, in order, with its speech as WAV where `keep` asks."""
        system, part, batch = work
        # 1. Decode rows to sound; a row that fails here is neither transcribed nor measured.
        speeches = self._speeches(system, batch)
        decoded = [
            self._decoded(system, part, entry, speech)
            for entry, speech in zip(batch, speeches, strict=True)
        ]
        rows = [row for row, _ in decoded]
        sounds = {n: sound for n, (_, sound) in enumerate(decoded) if sound is not None}
        # 2. Transcribe.
        places = [place for place in sounds if not batch[place].is_transcribed]
        waves = [sounds[place].at(SAMPLE_RATE) for place in places]
        for start in range(0, len(places), self.batch):
            group = slice(start, start + self.batch)
            results = self._transcribed(waves[group])
            for place, result in zip(places[group], results, strict=True):
                rows[place] = replace(rows[place], **result)
        # 3. Measure.
        measured = self._measured(batch, rows, sounds)
        return [
            Transcribed(
                replace(row, device=self.device),
                wav_bytes(sounds[n].wave, sounds[n].rate) if entry.keep and n in sounds else b"",
                tuple(measured[n, metric] for metric in entry.metrics),
            )
            for n, (entry, row) in enumerate(zip(batch, rows, strict=True))
        ]

    def _speeches(
        self, system: System, batch: Sequence[ToTranscribe]
    ) -> list[tuple[Wave, int] | SpeechError | UnitsError]:
        """Returns each row's speech, or why there is none; adds what it took.

        Rows whose latency is asked for are decoded one at a time, the others together.
        """
        speeches: dict[int, tuple[Wave, int] | SpeechError | UnitsError] = {}
        together = [place for place, entry in enumerate(batch) if not entry.alone]
        single = ([place] for place, entry in enumerate(batch) if entry.alone)
        for places in (*single, together):
            since = self.reading()
            entries = [batch[place] for place in places]
            decoded = self.voice.speeches(system, entries)
            speeches |= dict(zip(places, decoded, strict=True))
            if entries:
                alone = entries[0].row.item if entries[0].alone else ""
                self.add_cost(since, {system.model_dump_json(): [1] * len(entries)}, alone=alone)
        return [speeches[place] for place in range(len(batch))]

    def _decoded(
        self,
        system: System,
        part: str,
        entry: ToTranscribe,
        speech: tuple[Wave, int] | SpeechError | UnitsError,
    ) -> tuple[TranscriptRow, Sound | None]:
        """Returns a row without its transcript, and its sound; None where decoding failed."""
        name = entry.row.item
        try:
            if isinstance(speech, SpeechError | UnitsError):
                raise speech
            wave, rate = speech
            if part == "continuation":
                wave = continuation(wave, entry.row)
            if len(wave) > MAX_SECONDS * rate:
                raise SpeechError(
                    f"{len(wave) / rate:.1f} s; the ASR transcribes {MAX_SECONDS:.0f} s"
                )
        except (SpeechError, UnitsError) as error:
            cause = ABSENT if _is_absent(system, entry) else ""
            return TranscriptRow(
                item=name, status="failed", reason=as_on_driver(str(error)), cause=cause
            ), None
        sound = Sound(wave, rate)
        peak = float(abs(wave).max())
        return TranscriptRow(item=name, status="ok", seconds=sound.seconds, peak=peak), sound

    def _transcribed(self, waves: Sequence[Wave]) -> list[dict[str, Any]]:
        """Returns, for each clip, its row's fields about the transcript or its failure."""
        try:
            results = self.asr.transcribe(waves)
        except SpeechError as error:
            return [{"status": "failed", "reason": str(error)} for _ in waves]
        return [_fields(result) for result in results]

    def _measured(
        self,
        batch: Sequence[ToTranscribe],
        rows: Sequence[TranscriptRow],
        sounds: Mapping[int, Sound],
    ) -> dict[tuple[int, str], MeasuredRow]:
        """Returns the measured rows by place in the batch and metric."""
        measured: dict[tuple[int, str], MeasuredRow] = {}
        for metric, measurer in self.measurers.items():
            places = [place for place, entry in enumerate(batch) if metric in entry.metrics]
            with_sound = [place for place in places if place in sounds]
            names = [batch[place].row.item for place in with_sound]
            values = measurer.rows(names, [sounds[place] for place in with_sound])
            measured |= {(p, metric): row for p, row in zip(with_sound, values, strict=True)}
            for place in (place for place in places if place not in sounds):
                row = rows[place]
                failed = MeasuredRow(
                    item=row.item, status=row.status, reason=row.reason, cause=row.cause
                )
                measured[place, metric] = failed
        return {at: replace(row, device=self.device) for at, row in measured.items()}


def _fields(result: Transcription) -> dict[str, Any]:
    """Returns a row's fields about its transcript, or its failure if a figure is not finite."""
    try:
        return {"transcript": result.transcript, **result.figures()}
    except SpeechError as error:
        return {"status": "failed", "reason": str(error)}
