"""The two kinds of actor: generators hold a model, transcribers hold a codec and an ASR model."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from bench.asr.base import MAX_SECONDS, SAMPLE_RATE, Asr
from bench.common.audio import SpeechError, Wave, resample, write_wav
from bench.execution.worktime import Clocked
from bench.store.rows import ToTranscribe, TranscriptRow
from bench.systems.base import Asked, Made, System
from bench.systems.voice import Voice, continuation
from pixvox.errors import UnitsError


def device() -> str:
    """Where models compute: on a GPU where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _device_name() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


class GeneratorActor(Clocked):
    """Holds one system; `work` generates a batch of items in the ways asked of each."""

    def __init__(self, system: System, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.generator = system.generator(device())
        self.device = _device_name()
        self.start_clock(device())

    def work(self, asked: Asked) -> Made:
        """One row for every item and variant asked."""
        made = self.generator.generate(asked)
        return [(key, replace(row, device=self.device)) for key, row in made]


class TranscriberActor(Clocked):
    """Decodes units, keeps the speech as a WAV file, and transcribes, a fixed batch at a time."""

    def __init__(self, asr: Asr, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.batch = asr.batch
        self.asr = asr.transcriber(device(), threads)
        self.voice = Voice()
        self.device = _device_name()
        self.start_clock(device())

    def work(self, work: tuple[System, str, Sequence[ToTranscribe]]) -> list[TranscriptRow]:
        """One row for every row given, in order."""
        system, part, batch = work
        done: dict[str, TranscriptRow] = {}
        waves: list[Wave] = []
        names: list[str] = []
        for entry in batch:
            name = entry.row.item
            try:
                wave, rate = self.voice.speech(system, entry)
                if part == "continuation":
                    wave = continuation(wave, entry.row)
                if len(wave) > MAX_SECONDS * rate:
                    raise SpeechError(
                        f"{len(wave) / rate:.1f} s; the ASR transcribes {MAX_SECONDS:.0f} s"
                    )
            except (SpeechError, UnitsError) as error:
                done[name] = TranscriptRow(name, "failed", str(error))
                continue
            if entry.keep is not None:
                # For people only; what a full disk or another machine's keeps from being written
                # the driver makes again from the ledger.
                with suppress(OSError):
                    write_wav(entry.keep, wave, rate)
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
        return [replace(done[entry.row.item], device=self.device) for entry in batch]
