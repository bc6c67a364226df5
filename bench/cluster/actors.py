"""The two kinds of actor: speakers hold a model, listeners hold a codec and an ASR model."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.audio import SpeechError, Wave, read_speech, resample, write_wav
from bench.listening.whisper import MAX_SECONDS, SAMPLE_RATE, WhisperListener
from bench.rows import HeardRow, Spoken, ToHear
from bench.spec import AsrSpec, PixVoxSpec, ResynthesisSpec, SystemSpec
from bench.systems.speakers import Asked, make_speaker, units_of
from pixvox.codec import Codec, UnitsError


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _device_name() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


class SpeakerActor:
    """Holds one system; `work` speaks a batch of items at the prompt shares asked of each."""

    def __init__(self, spec: SystemSpec, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.speaker = make_speaker(spec, _device())
        self.device = _device_name()

    def work(self, asked: Asked) -> list[tuple[float, Spoken]]:
        """One row for every item and share asked."""
        made = self.speaker.speak(asked)
        return [(share, replace(row, device=self.device)) for share, row in made]


class ListenerActor:
    """Decodes units, keeps the speech as a WAV file, and transcribes, a fixed batch at a time."""

    def __init__(self, spec: AsrSpec, checkpoint: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.batch = spec.batch
        self.asr = WhisperListener(Path(checkpoint), _device(), spec.beam_size, spec.arithmetic)
        self.device = _device_name()
        self.codecs: dict[tuple[str, float], Codec] = {}

    def _codec(self, system: SystemSpec) -> Codec:
        assert isinstance(system, PixVoxSpec | ResynthesisSpec)
        if isinstance(system, ResynthesisSpec):
            key = (system.codec, system.bandwidth)
        else:
            from pixvox.configuration import PixVoxConfig
            from pixvox.weights import resolve

            config = PixVoxConfig.from_pretrained(resolve(system.weights))
            key = (system.codec or config.codec, config.bandwidth)
        if key not in self.codecs:
            self.codecs[key] = Codec.load(*key)
        return self.codecs[key]

    def work(self, work: tuple[SystemSpec, Sequence[ToHear]]) -> list[HeardRow]:
        """One row for every row given, in order."""
        system, batch = work
        done: dict[str, HeardRow] = {}
        waves = []
        names: list[str] = []
        for entry in batch:
            name = entry.row.item
            try:
                wave, rate = self._speech(system, entry)
                if len(wave) > MAX_SECONDS * rate:
                    raise SpeechError(
                        f"{len(wave) / rate:.1f} s; the ASR hears {MAX_SECONDS:.0f} s"
                    )
            except (SpeechError, UnitsError) as error:
                done[name] = HeardRow(name, "failed", str(error))
                continue
            write_wav(entry.keep, wave, rate)
            done[name] = HeardRow(name, "ok", seconds=len(wave) / rate)
            waves.append(resample(wave, rate, SAMPLE_RATE))
            names.append(name)
        for start in range(0, len(waves), self.batch):
            group = waves[start : start + self.batch]
            # A fixed batch size: the last, short one is filled up, so that rounding inside the
            # ASR does not depend on how many clips happened to be left.
            heard = self.asr.hear(group + [group[0]] * (self.batch - len(group)))
            for name, result in zip(names[start : start + self.batch], heard, strict=False):
                done[name] = HeardRow(
                    name,
                    "ok",
                    transcript=result.transcript,
                    seconds=done[name].seconds,
                    no_speech_prob=result.no_speech_prob,
                    avg_logprob=result.avg_logprob,
                    compression_ratio=result.compression_ratio,
                )
        return [replace(done[entry.row.item], device=self.device) for entry in batch]

    def _speech(self, system: SystemSpec, entry: ToHear) -> tuple[Wave, int]:
        if entry.row.units:
            codec = self._codec(system)
            return codec.decode(units_of(entry.row)), codec.sample_rate
        path = entry.item.captions[entry.row.caption].speech
        if path is None:
            raise SpeechError(f"caption {entry.row.caption} has no recorded speech")
        return read_speech(path, SAMPLE_RATE), SAMPLE_RATE
