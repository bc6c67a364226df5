"""The two kinds of actor: generators hold a model, transcribers hold a codec and an ASR model."""

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.asr.base import MAX_SECONDS, SAMPLE_RATE, Asr
from bench.common.audio import SpeechError, Wave, resample, wav_bytes
from bench.common.errors import ActorUnusable
from bench.common.text import reason_of, short
from bench.datasets.base import Item
from bench.execution.parcels import as_on_driver
from bench.execution.worktime import Clocked
from bench.store.rows import SpeechRow, ToTranscribe, Transcribed, TranscriptRow
from bench.systems.base import ABSENT, Asked, Made, System, Variant, lacks_files
from bench.systems.voice import Voice, continuation
from pixvox.errors import UnitsError


def device() -> str:
    """Where models compute: in an actor on the GPU that Ray assigned, elsewhere on any there is.

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
    """What Ray assigned to the actor that this is; None in any other process."""
    if "ray" not in sys.modules:
        return None
    import ray

    if not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
        return None
    return list(ray.get_runtime_context().get_accelerator_ids()["GPU"])


def _unusable_gpu(assigned: Sequence[str], reason: str) -> str:
    """What is said of an assigned GPU that PyTorch cannot use: node, driver, build, and the fix."""
    import ray
    import torch

    try:
        driver = Path("/proc/driver/nvidia/version").read_text()
        found = re.search(r"\d+\.\d+(\.\d+)?", driver)
        driver = f"NVIDIA driver {found[0]}" if found else "an unknown NVIDIA driver"
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
    """Holds one system; `work` generates a batch of items in the ways asked of each."""

    def __init__(self, system: System, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        kind = device()
        self.generator = system.generator(kind)
        self.device = _device_name(kind)
        self.start_clock(kind)

    def work(self, asked: Asked) -> Made:
        """One row for every item and variant asked."""
        made = self.generator.generate(asked)
        each = [(item, variant) for item, variants in asked for variant in variants]
        return [
            (key, self._settled(row, item, variant))
            for (key, row), (item, variant) in zip(made, each, strict=True)
        ]

    def _settled(self, row: SpeechRow, item: Item, variant: Variant) -> SpeechRow:
        absent = row.status != "ok" and lacks_files(variant.system, item, variant.caption)
        cause = ABSENT if absent else row.cause
        return replace(row, device=self.device, cause=cause, reason=as_on_driver(row.reason))


def _is_absent(system: System, entry: ToTranscribe) -> bool:
    """Whether a row's speech is in a file that is not on this actor's node."""
    if entry.row.units or entry.row.audio:
        return False
    if entry.file is not None:
        return not entry.file.is_file()
    return lacks_files(system, entry.item, entry.row.caption)


class TranscriberActor(Clocked):
    """Decodes units and transcribes the speech, a fixed batch at a time."""

    def __init__(self, asr: Asr, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        kind = device()
        self.batch = asr.batch
        self.asr = asr.transcriber(kind, threads)
        self.voice = Voice(kind)
        self.device = _device_name(kind)
        self.start_clock(kind)

    def work(self, work: tuple[System, str, Sequence[ToTranscribe]]) -> list[Transcribed]:
        """One row for every row given, in order, with the speech of those that it is wanted of."""
        system, part, batch = work
        sound: dict[str, bytes] = {}
        done: dict[str, TranscriptRow] = {}
        waves: list[Wave] = []
        names: list[str] = []
        for entry, sounding in zip(batch, self.voice.speeches(system, batch), strict=True):
            name = entry.row.item
            try:
                if isinstance(sounding, SpeechError | UnitsError):
                    raise sounding
                wave, rate = sounding
                if part == "continuation":
                    wave = continuation(wave, entry.row)
                if len(wave) > MAX_SECONDS * rate:
                    raise SpeechError(
                        f"{len(wave) / rate:.1f} s; the ASR transcribes {MAX_SECONDS:.0f} s"
                    )
            except (SpeechError, UnitsError) as error:
                absent = _is_absent(system, entry)
                reason, cause = as_on_driver(str(error)), ABSENT if absent else ""
                done[name] = TranscriptRow(name, "failed", reason, cause)
                continue
            if entry.keep:
                sound[name] = wav_bytes(wave, rate)
            done[name] = TranscriptRow(
                name, "ok", seconds=len(wave) / rate, peak=float(abs(wave).max())
            )
            waves.append(resample(wave, rate, SAMPLE_RATE))
            names.append(name)
        for start in range(0, len(waves), self.batch):
            group = waves[start : start + self.batch]
            # A fixed batch size: the last, short one is filled up, so that rounding inside the
            # ASR does not depend on how many clips happened to be left.
            clips = group + [group[0]] * (self.batch - len(group))
            mine = names[start : start + self.batch]
            try:
                transcribed = self.asr.transcribe(clips)
            except SpeechError as error:
                for name in mine:
                    done[name] = replace(done[name], status="failed", reason=str(error))
                continue
            for name, result in zip(mine, transcribed, strict=False):
                try:
                    figures = result.figures()
                except SpeechError as error:
                    done[name] = replace(done[name], status="failed", reason=str(error))
                    continue
                done[name] = replace(
                    done[name],
                    transcript=result.transcript,
                    no_speech_prob=figures["no_speech_prob"],
                    avg_logprob=figures["avg_logprob"],
                    compression_ratio=figures["compression_ratio"],
                )
        return [
            Transcribed(replace(done[entry.row.item], device=self.device), sound.get(name, b""))
            for entry in batch
            for name in (entry.row.item,)
        ]
